"""The suites of these tests beside the project's own, so that a changed suite changes no test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="package", autouse=True)
def own_suites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config") / "config"
    shutil.copytree(ROOT / "config", folder)
    for path in Path(__file__).parent.glob("suites/*.yaml"):
        shutil.copy2(path, folder / "suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CONFIG", str(folder))
        yield folder
