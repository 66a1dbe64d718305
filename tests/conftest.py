"""Shared fixtures of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # parallel test workers on few cores

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The reference fixtures of other projects' networks; the test is skipped where they are absent."""
    folder = Path(os.environ.get("BENCH_FIXTURES", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"no reference fixtures in {folder} (set BENCH_FIXTURES)")
    return folder


@pytest.fixture(scope="session")
def as_stored(tmp_path_factory) -> Path:
    """A folder with the stored baselines alone: what was measured in this checkout, by `make demo` for one, is not in it."""
    folder = tmp_path_factory.mktemp("as_stored")
    (folder / "results").mkdir()
    (folder / "results" / "baselines").symlink_to(ROOT / "results" / "baselines")
    return folder


@pytest.fixture
def slow() -> None:
    """Skip tests of more than ten seconds that are run by hand, unless BENCH_SLOW=1."""
    if os.environ.get("BENCH_SLOW") != "1":
        pytest.skip("slow; set BENCH_SLOW=1")
