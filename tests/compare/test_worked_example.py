"""The page on adding an architecture: its file and its commands are run as they stand, on a tiny suite named families."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stored import finish

from bench.cli import main
from bench.results import baselines
from bench.suite import plan
from bench.support import git, paths
from bench.support.files import read_json

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "add-architecture.md").read_text(encoding="utf-8")
TINY = """
title: Small enough for a test
training: {steps: 4, batch: 4, ema: 0.5}
measure: {psnr: {images: 6, steps: 5}}
runs: [{datasets: [disks-8], models: [dit-t16, unet-t16], train_sizes: [10], shuffles: [0, 1]}]
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A copy of the project whose families is tiny and has baselines."""
    for name in ("bench", "config", "workflow", "snakemake_executor_plugin_submitit"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", tmp_path)
    (tmp_path / "config" / "suites" / "families.yaml").write_text(TINY)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(git, "holds", lambda commit: True)
    assert main(["data", "build", "disks-8", "--workers", "1"]) == 0
    hash_ = read_json(paths.dataset_folder("disks-8") / "manifest.json")["sha256"]
    suite = plan.load("families")
    for run in suite.runs:
        finish(suite, run, gap=9.0 + 0.01 * suite.run(run).shuffle, data=hash_)
    baselines.promote(suite)
    shutil.rmtree(paths.suite_folder("families"))
    return tmp_path


@pytest.mark.workflow
def test_the_page_from_empty_file_to_verdict(project):
    (project / "my_model.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.S)[1])
    commands = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    assert [command.split()[0] for command in commands] == ["bench", "bench", "snakemake"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(project), "PATH": path, "OMP_NUM_THREADS": "1"}
    for command in commands:
        done = subprocess.run(command.split(), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-3000:]}"
    assert "plain: 2 runs; as many took" in done.stderr
    text = Path("results/families/compare/plain.md").read_text()
    assert "- PSNR gap (dB) against DiT: **" in text and "Not matched with dit-t16: plain has" in text
    assert "| Disks | UNet | 10 | test PSNR (dB) |" in text
    for file in (
        "results/families/compare/plain.csv",
        "results/families/compare/plain.tex",
        "figures/families/compare-plain.pdf",
    ):
        assert Path(file).stat().st_size > 200
    assert "pass  gradients" in Path("results/families/compare/plain.check.txt").read_text()
