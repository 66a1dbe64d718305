"""A small suite with baselines, in a folder of its own."""

from __future__ import annotations

import shutil

import pytest
from stored import SUITE, finish

from bench.suite import config, plan
from bench.support import git


@pytest.fixture
def suite(tmp_path, monkeypatch) -> plan.Plan:
    """Every run of the suite ``grid`` measured, in the current folder; the UNet's gap is 1 dB above the DiT's."""
    shutil.copytree(config.folder(), tmp_path / "config")
    (tmp_path / "config" / "suites" / "grid.yaml").write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(git, "holds", lambda commit: commit.startswith("c0ffee"))
    loaded = plan.load("grid")
    for name, run in loaded.runs.items():
        finish(loaded, name, gap=1.0 + (run.model.name == "unet-t16") + 0.01 * run.shuffle)
    return loaded
