"""A workflow of real, tiny trainings (`bench train`) in an empty folder, and a witness of their checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness import REPOSITORY, Workflow

SUITE = """
title: For the fault campaign
training: {{steps: {steps}, batch: 8, learning_rate: 1e-3, ema: 0.9}}
measure: {{}}
runs:
  - {{datasets: [disks-16], models: [dit-t16, unet-t16], train_sizes: {sizes}}}
items: {{}}
"""
# The checkpoint clock is short; the rule of the project is the same otherwise
SNAKEFILE = """
localrules: all, last

rule all:
    input: "last.txt"

rule last:
    input: expand("results/campaign/runs/{run}/weights.safetensors", run=RUNS)
    output: "last.txt"
    shell: "sha256sum {input} > {output}"

rule train:
    output:
        "results/campaign/runs/{run}/weights.safetensors",
        "results/campaign/runs/{run}/history.csv",
        "results/campaign/runs/{run}/run.json",
    log: "logs/{run}.log"
    resources: runtime=30, mem_mb=2000
    shell: "BENCH train {wildcards.run} --suite campaign --device cpu --checkpoint-seconds 0.5 > {log} 2>&1"
"""
BENCH = f"{sys.executable} -m bench"


CALM = """
import sys
from bench.cli import main
main("data build disks-16".split())
main("data subset results/datasets/disks-16 --shuffle 0 --out results/subsets/disks-16/s0.npz".split())
sys.exit(any([main(["train", run, "--suite", "campaign", "--device", "cpu"]) for run in sys.argv[1:]]))
"""


def prepare(folder: Path, steps: int, sizes: list[int]) -> dict[str, str]:
    """Make dataset and subset, train two models at each size without disturbance; return run -> sha256 of its weights.

    They lie in ``folder/calm``. Sets BENCH_CONFIG and PYTHONPATH, which the jobs inherit.
    """
    shutil.copytree(REPOSITORY / "config", folder / "config")
    (folder / "config/suites/campaign.yaml").write_text(SUITE.format(steps=steps, sizes=sizes))
    os.environ |= {"BENCH_CONFIG": str(folder / "config"), "PYTHONPATH": str(REPOSITORY)}
    calm = folder / "calm"
    calm.mkdir()
    command = [*BENCH.split(), "plan", "--suite", "campaign", "--json"]
    plan = json.loads(subprocess.run(command, cwd=calm, check=True, capture_output=True).stdout)
    names = [run["name"] for run in plan["runs"]]
    subprocess.run([sys.executable, "-c", CALM, *names], cwd=calm, check=True)
    return {name: weights(calm, name) for name in names}


def weights(folder: Path, run: str) -> str | None:
    """Return the sha256 of a run's weights, None where there are none."""
    path = folder / f"results/campaign/runs/{run}/weights.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


class Trainings(Workflow):
    """The workflow in one folder; ``calm`` holds dataset and subset of an earlier :func:`prepare`."""

    def prepare(self, calm: Path, runs: list[str]) -> None:
        """Write the Snakefile and take over data."""
        (self.folder / "Snakefile").write_text(SNAKEFILE.replace("BENCH", BENCH).replace("RUNS", repr(runs)))
        for name in ("datasets", "subsets"):
            shutil.copytree(calm / "results" / name, self.folder / "results" / name)

    def commands(self) -> Iterator[tuple[int, list[str]]]:
        """Yield process id and words of everything that runs in this folder."""
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = line.read_bytes().decode(errors="replace").split("\0")
                if (line.parent / "cwd").resolve() == self.folder:
                    yield int(line.parent.name), words
            except OSError:
                continue

    def processes(self) -> list[int]:
        """Return the pids of all trainings of this workflow."""
        return [pid for pid, words in self.commands() if words[1:4] == ["-m", "bench", "train"]]

    def training(self) -> list[int]:
        """Return the pids of those that have begun: their heartbeats name them."""
        found = set()
        for file in self.folder.glob(".runs/campaign/*/*/log.json"):
            try:
                found.add(json.loads(file.read_text())["starts"][-1]["pid"])
            except (OSError, ValueError):
                continue
        return [pid for pid in self.processes() if pid in found]

    def attempts(self, run: str) -> list[dict]:
        """Return the starts of a finished run."""
        file = self.folder / f"results/campaign/runs/{run}/run.json"
        return json.loads(file.read_text())["attempts"] if file.exists() else []


class Witness:
    """Notes when which checkpoint was first seen, so that a start can be held against what lay there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, dict[int, float]] = {}
        self.spoilt: dict[str, set[int]] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            for path in self.folder.glob(".runs/campaign/*/*/step*.pt"):
                self.seen.setdefault(path.parts[-3], {}).setdefault(int(path.name[4:12]), time.time())

    def truncate(self) -> bool:
        """Cut the newest checkpoint of the run that has the most; False where there is none."""
        paths = sorted(self.folder.glob(".runs/campaign/*/*/step*.pt"), key=lambda path: path.stat().st_mtime)
        if not paths:
            return False
        self.spoilt.setdefault(paths[-1].parts[-3], set()).add(int(paths[-1].name[4:12]))
        os.truncate(paths[-1], paths[-1].stat().st_size // 2)
        return True

    def repeated(self, run: str, attempts: list[dict]) -> list[str]:
        """Return what is wrong with the starts of a run: begun before the newest checkpoint, or two at once."""
        wrong = []
        spoilt = self.spoilt.get(run, set())
        for before, after in zip(attempts, attempts[1:]):
            if before["ended"] > after["began"] + 0.1:
                wrong.append(f"{run} was trained twice at once")
            there = [step for step, when in self.seen.get(run, {}).items() if when < after["began"] - 0.1]
            newest = max((step for step in there if step not in spoilt), default=0)
            if after["first_step"] < newest:
                wrong.append(f"{run} began at step {after['first_step']} though {newest} was saved")
        return wrong

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
