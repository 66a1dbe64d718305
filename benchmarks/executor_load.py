"""Load of waiting jobs on the submitting host, on the one-node test Slurm (needs root, slurm-wlm, munge).

    python benchmarks/executor_load.py --jobs 200 --seconds 60

Submits held jobs as one array and prints: seconds until all are in the queue, processes and memory of Snakemake
while they wait, calls of Slurm's commands per minute, seconds until all are cancelled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "executor"))

from harness import Workflow, wait_for  # noqa: E402

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")


def count_calls(folder: Path) -> Path:
    """Put counting stand-ins of Slurm's commands first on PATH; return the file they write to."""
    calls, bin_folder = folder / "calls", folder / "bin"
    bin_folder.mkdir()
    for name in COMMANDS:
        real = TESTS / "slurm/bin/sacct" if name == "sacct" else shutil.which(name)
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\necho {name} >> "{calls}"\nexec "{real}" "$@"\n')
        script.chmod(0o755)
    os.environ["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
    calls.touch()
    return calls


def queued(state: str = "all") -> int:
    """Return how many jobs are in the queue and have not ended."""
    states = "pending,running,completing" if state == "all" else state
    done = subprocess.run(["/usr/bin/squeue", "-h", "-r", "-t", states], capture_output=True, text=True)
    return len(done.stdout.splitlines())


def measure(folder: Path, jobs: int, seconds: float) -> dict[str, object]:
    """Submit held jobs, watch Snakemake for some time, cancel."""
    calls = count_calls(folder)
    work = folder / "work"
    work.mkdir()
    flow = Workflow(work, "slurm", ("--set-resources", "train:slurm_extra='--hold'", "--jobs", str(jobs + 1)))
    flow.write(10, 0.1)
    (work / "first.txt").write_text("first\n")
    began = time.monotonic()
    outer = flow.start(jobs=jobs)
    wait_for(lambda: queued("pending") == jobs, 300)
    submitted = time.monotonic() - began
    calls.write_text("")
    time.sleep(seconds)
    process = psutil.Process(outer.pid)
    family = [process, *process.children(recursive=True)]
    memory = sum(one.memory_info().rss for one in family) / 2**20
    rates = {name: 60 * n / seconds for name, n in Counter(calls.read_text().split()).items()}
    began = time.monotonic()
    outer.terminate()
    outer.wait(120)
    ended = time.monotonic() - began
    return {
        "jobs": jobs,
        "seconds from start to all queued": round(submitted, 1),
        "processes": len(family),
        "MiB resident": round(memory),
        "calls per minute": rates,
        "seconds to cancel": round(ended, 1),
        "jobs left": queued(),
    }


def main() -> None:
    """Start Slurm, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    if os.geteuid() != 0 or not (shutil.which("slurmctld") and shutil.which("munged")):
        print("skipped: needs root and the Debian packages slurm-wlm and munge")
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-load-"))
    folder.chmod(0o755)
    os.environ |= {"SLURM_CONF": str(folder / "slurm" / "slurm.conf"), "SLURM_TEST_ARRAY": "1001"}
    try:
        subprocess.run([TESTS / "slurm/cluster.sh", "start", folder / "slurm"], check=True)
        print(json.dumps(measure(folder, options.jobs, options.seconds), indent=1))
    finally:
        subprocess.run([TESTS / "slurm/cluster.sh", "stop", folder / "slurm"], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
