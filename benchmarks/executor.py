"""What the executor costs on the one-node test Slurm (needs root, slurm-wlm, munge): ``python benchmarks/executor.py``.

What a job costs beside its command, with and without a Snakemake on the node; the load of waiting jobs on the submitting
host (``--jobs``, held, for ``--seconds``); a dry run of the suite ``paper``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/executor")]

from harness import Workflow, wait_for  # noqa: E402

from snakemake_executor_plugin_submitit.history import starts  # noqa: E402

CLUSTER = ROOT / "tests/slurm/cluster.sh"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
CHAIN = """
rule step:
    input: lambda wildcards: [] if wildcards.n == "1" else str(int(wildcards.n) - 1)
    output: "{n}"
    KIND
"""


def timed(command: list, folder: Path) -> tuple[float, float]:
    """Run a command; return the seconds of the clock and of the CPU."""
    began, before = time.monotonic(), os.times()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, used


def overhead(folder: Path, kind: str) -> None:
    """Print what jobs cost whose command does nothing, one after the other."""
    folder.mkdir()
    (folder / "Snakefile").write_text(CHAIN.replace("KIND", kind))
    command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "1", "5"]
    clock, used = timed([*command, "--seconds-between-status-checks", "1"], folder)
    node = [start["compute_seconds"] for start in starts(folder / ".snakemake/submitit")]
    print(
        f"{len(node)} empty jobs, {kind}: {clock / len(node):.1f} s each, {sum(node) / len(node):.1f} s of it at work; "
        f"{used:.1f} s of CPU on the submitting host."
    )


def load(folder: Path, jobs: int, seconds: float) -> None:
    """Submit held jobs, watch Snakemake for some time, cancel, and print its load."""
    calls = counted(folder)
    (folder / "load").mkdir()
    held = ("--set-resources", "train:slurm_extra='--hold'", "--jobs", str(jobs + 1))
    flow = Workflow(folder / "load", "slurm", held)
    flow.write(10, 0.1)
    (folder / "load" / "first.txt").write_text("first\n")
    began = time.monotonic()
    outer = flow.start(jobs=jobs)
    wait_for(lambda: queued() == jobs, 300)
    submitted = time.monotonic() - began
    calls.write_text("")
    time.sleep(seconds)
    family = [psutil.Process(outer.pid), *psutil.Process(outer.pid).children(recursive=True)]
    memory = sum(one.memory_info().rss for one in family) / 2**20
    rates = {name: round(60 * n / seconds, 1) for name, n in Counter(calls.read_text().split()).items()}
    outer.terminate()
    outer.wait(120)
    print(
        f"{jobs} held jobs: queued after {submitted:.1f} s; {len(family)} processes, {memory:.0f} MiB; per minute: {rates}."
    )


def counted(folder: Path) -> Path:
    """Put counting wrappers of Slurm's commands first on PATH; return the file that they write to."""
    calls, bin_folder = folder / "calls", folder / "bin"
    bin_folder.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        (bin_folder / name).write_text(
            f'#!/bin/sh\necho {name} >> "{calls}"\nexec "{shutil.which(name)}" "$@"\n'
        )
        (bin_folder / name).chmod(0o755)
    os.environ["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
    calls.touch()
    return calls


def queued() -> int:
    """Return how many jobs wait in the queue."""
    done = subprocess.run(["squeue", "-h", "-r", "-t", "pending"], capture_output=True, text=True)
    return len(done.stdout.splitlines())


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
    folder = Path(tempfile.mkdtemp(prefix="bench-executor-"))
    folder.chmod(0o755)
    slurm = folder / "slurm"
    os.environ |= {
        "PYTHONPATH": str(ROOT),
        "SLURM_CONF": str(slurm / "slurm.conf"),
        "SLURM_TEST_ARRAY": "1001",
    }
    try:
        subprocess.run([CLUSTER, "start", slurm], check=True)
        overhead(folder / "shell", "shell: 'touch {output}'")
        overhead(folder / "run", "run: open(output[0], 'w').close()")
        load(folder, options.jobs, options.seconds)
        (folder / "dry").mkdir()
        dry = [*SNAKEMAKE, "--directory", folder / "dry", "-n", "--quiet", "--config", "suite=paper"]
        print("Dry run of `paper`: {:.1f} s ({:.1f} s of CPU).".format(*timed(dry, folder)))
    finally:
        subprocess.run([CLUSTER, "stop", slurm], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
