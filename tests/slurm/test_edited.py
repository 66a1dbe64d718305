"""Files edited while jobs wait or are retried, under the project's own profile on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REPOSITORY, wait_for
from test_slurm import queue, tell
from test_smoke import COPIED, QUICK

RUN = "disks-8.unet-t16.n10.s0"
PATIENCE = 900  # seconds for a whole workflow, on a busy machine
SUITE = """
title: One run
training: {steps: 400, batch: 8, learning_rate: 1e-3, ema: 0.9}
measure: {psnr: {images: 4, steps: 3}}
runs: [{datasets: [disks-8], models: [unet-t16], train_sizes: [10]}]
items: {fig2: {}}
"""

pytestmark = pytest.mark.slurm


class Project:
    """A copy of the project with one run in one suite, which a test may edit."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "outer.log"
        for name in COPIED:
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
            copy(REPOSITORY / name, folder / name)
        self.suite = folder / "config/suites/one.yaml"
        self.suite.write_text(SUITE)
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "BENCH_CONFIG": "", "BENCH_PLAN": ""}

    def edit(self, old: str, new: str, name: str = "config/suites/one.yaml") -> None:
        file = self.folder / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def start(self, *words: str, hold: bool = False) -> subprocess.Popen:
        """Start the workflow; with ``hold`` its training waits in the queue."""
        words += ("--set-resources", "train:slurm_extra='--hold'") if hold else ()
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "all", *QUICK, *words]
        with self.log.open("a") as log:
            return subprocess.Popen(
                [*command, "--config", "suite=one"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def bench(self, *words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "bench", *words, "--suite", "one"]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def record(self) -> dict:
        return json.loads((self.folder / f"results/one/runs/{RUN}/run.json").read_text())

    def trained(self, key: str) -> object:
        return self.record()["spec"]["training"][key]


@pytest.fixture
def project(slurm, tmp_path):
    return Project(tmp_path)


def test_options_edited_while_a_job_waits(project, slow):
    outer = project.start(hold=True)
    wait_for(queue, PATIENCE)
    project.edit("steps: 400", "steps: 40")
    tell("scontrol", "release", *queue())
    assert outer.wait(PATIENCE) == 0, project.log.read_text()[-5000:]
    history = (project.folder / f"results/one/runs/{RUN}/history.csv").read_text()
    assert project.trained("steps") == 400 and history.splitlines()[-1].startswith("400,")
    assert "option: training.steps: 400 -> 40" in project.bench("why", RUN).stdout
    refused = project.bench("measure", "all", RUN)
    assert refused.returncode == 1 and "was trained with other options than suite 'one'" in refused.stderr
    assert project.start().wait(PATIENCE) == 0
    assert project.trained("steps") == 40
    project.edit("steps: 40,", "steps: 400,")
    assert project.start().wait(PATIENCE) == 0
    assert project.trained("steps") == 400


def test_options_edited_before_the_retry_of_a_killed_training(project, slow):
    outer = project.start()

    def training() -> int:
        file = next(project.folder.glob(".runs/one/*/*/log.json"), None)
        return file and json.loads(file.read_text())["starts"][-1]["pid"]

    wait_for(training, PATIENCE)
    project.edit("learning_rate: 1e-3", "learning_rate: 3e-3")
    os.kill(training(), signal.SIGKILL)
    assert outer.wait(PATIENCE) == 0, project.log.read_text()[-5000:]
    assert project.trained("learning_rate") == 1e-3
    assert [start["exit"] for start in project.record()["attempts"]][1:] == ["done"]
    assert project.bench("measure", "all", RUN).returncode == 1
    assert project.start().wait(PATIENCE) == 0
    assert project.trained("learning_rate") == 3e-3


def test_code_edited_while_a_job_waits(project, slow):
    outer = project.start("--retries", "0", hold=True)
    wait_for(queue, PATIENCE)
    project.edit("self.norm2(h + c)", "self.norm2(h - c)", "bench/models/unet.py")
    tell("scontrol", "release", *queue())
    assert outer.wait(PATIENCE) == 1
    assert "The code changed after this job was submitted" in (said := project.log.read_text())
    assert "Start the same `snakemake` command again to queue it" in said
    assert not (project.folder / f"results/one/runs/{RUN}/run.json").exists()
    assert project.start().wait(PATIENCE) == 0
