"""The project's own command, `snakemake --profile slurm all`, for the smallest suite on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from harness import REPOSITORY

COPIED = (
    "Snakefile", "bench", "config", "workflow", "slurm", "snakemake_executor_plugin_submitit",
)  # fmt: skip
# The looks at the queue are closer together than on a real site; all else is the committed profile
QUICK = ["--submitit-queue-interval", "2", "--seconds-between-status-checks", "1", "--latency-wait", "10"]

pytestmark = pytest.mark.slurm


def test_the_smoke_suite_goes_through_slurm_whole(slurm, tmp_path, slow):
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tmp_path / name, follow_symlinks=False)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--profile",
        "slurm",
        "all",
        *QUICK,
        "--config",
        "suite=smoke",
    ]
    place = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path)}}
    done = subprocess.run(command, **place, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    for item in ("fig2", "fig3", "fig4", "fig6"):
        assert (tmp_path / f"figures/smoke/{item}.pdf").exists()
    assert (tmp_path / "results/smoke/tables/tab1.md").exists()
    again = subprocess.run([*command, "-n"], **place, capture_output=True, text=True)
    assert "Nothing to be done" in again.stdout + again.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("results/smoke/runs/*/run.json")]
    assert len(records) == 6
    for record in records:
        job = record["provenance"]["job"]
        assert job["id"] and job["queue_seconds"] >= 0 and job["peak_memory_mib"] > 50
        assert [start["exit"] for start in record["attempts"]] == ["done"]
    history = [sys.executable, "-m", "snakemake_executor_plugin_submitit.history"]
    said = subprocess.run(history, **place, capture_output=True, text=True, check=True).stdout
    lines = said.splitlines()[1:]
    assert len(lines) > 20 and all(line.endswith(": done") for line in lines)
    assert not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout
