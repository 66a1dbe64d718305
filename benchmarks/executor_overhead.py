"""What a job costs beside its command, on the one-node test Slurm (needs root, slurm-wlm, munge), and a dry run.

    python benchmarks/executor_overhead.py --suite smoke

Runs the graph up to the subset of each dataset through the executor and prints Markdown: for each job the seconds of its
command by hand, of the job on the node (submitit, the inner Snakemake, the command), and in the queue. Then a dry run of the
suite `paper`. CPU seconds stand beside those of the clock: on a busy machine only they compare.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import paths, plan  # noqa: E402
from snakemake_executor_plugin_submitit.history import starts  # noqa: E402

CLUSTER = ROOT / "tests/slurm/cluster.sh"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]


def timed(command: list, folder: Path) -> tuple[float, float]:
    """Run a command; return the seconds of the clock and of the CPU."""
    began, before = time.monotonic(), os.times()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, used


def by_hand(suite: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Return the cost of each command of the graph's first jobs, typed by a person."""
    dataset, shuffle = next(iter(plan.load(suite).shuffles))
    subset = paths.subset_file(dataset, shuffle)
    commands = {
        "check": ["check", "--suite", suite],
        "dataset": ["data", "build", dataset, "--workers", "2"],
        "subset": [
            "data",
            "subset",
            f"results/datasets/{dataset}",
            "--shuffle",
            str(shuffle),
            "--out",
            subset,
        ],
    }
    bench = [sys.executable, "-m", "bench"]
    return {rule: timed([*bench, *words], folder) for rule, words in commands.items()}


def through_slurm(suite: str, folder: Path) -> tuple[list[dict], float]:
    """Return what the history says of each job, and the seconds of the whole."""
    targets = [paths.plan_file(suite), *(paths.subset_file(*pair) for pair in plan.load(suite).shuffles)]
    command = [*SNAKEMAKE, "--directory", folder, "--executor", "submitit", "--jobs", "50", *targets]
    command += ["--seconds-between-status-checks", "1", "--config", f"suite={suite}"]
    whole, _ = timed(command, folder)
    return list(starts(folder / ".snakemake/submitit")), whole


def dry_run(suite: str, folder: Path) -> tuple[float, float]:
    """Return the cost of a dry run of everything."""
    return timed([*SNAKEMAKE, "--directory", folder, "-n", "--quiet", "--config", f"suite={suite}"], folder)


def main() -> None:
    """Start Slurm, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", default="smoke")
    suite = parser.parse_args().suite
    os.environ["PYTHONPATH"] = str(ROOT)
    if os.geteuid() != 0 or not (shutil.which("slurmctld") and shutil.which("munged")):
        print("skipped: needs root and the Debian packages slurm-wlm and munge")
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-overhead-"))
    folder.chmod(0o755)
    os.environ["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
    for name in ("hand", "queue", "dry"):
        (folder / name).mkdir()
    try:
        hand = by_hand(suite, folder / "hand")
        subprocess.run([CLUSTER, "start", folder / "slurm"], check=True)
        rows, whole = through_slurm(suite, folder / "queue")
        print("| job | by hand, s (CPU) | on the node, s (CPU) | in the queue, s |")
        print("| --- | --- | --- | --- |")
        for row in rows:
            rule = row["name"].split()[0]
            alone = "{:.1f} ({:.1f})".format(*hand[rule])
            work = f"{row['compute_seconds']} ({row['cpu_seconds']})"
            print(f"| {rule} | {alone} | {work} | {row['queue_seconds']} |")
        alone = sum(clock for clock, _ in hand.values())
        print(f"\nThe whole: {whole:.1f} s for {len(rows)} jobs, {alone:.1f} s by hand.")
        print("Dry run of `paper`: {:.1f} s ({:.1f} s of CPU).".format(*dry_run("paper", folder / "dry")))
    finally:
        subprocess.run([CLUSTER, "stop", folder / "slurm"], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
