"""A fault campaign on the one-node Slurm: random faults at random moments, then a look at what came out.

    python tests/slurm/campaign.py --faults 60 --minutes 15 --seed 1

Runs waves of a small workflow whose trainings are stand-ins with a chain of hashes as weights. A wave
survives if all weights equal the undisturbed ones, no training ran twice at once, no more steps were
repeated than the checkpoints allow, and no job is left in the queue. Exit status 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "executor"))

from harness import Workflow  # noqa: E402
from stand_in import EVERY, advance  # noqa: E402

JOBS, STEPS, SECONDS = 4, 150, 0.1
PER_WAVE = 12  # faults; afterwards the wave may end in peace
PATIENCE = 240.0  # seconds for a wave after its last fault
OPTIONS = ("--submitit-queue-interval", "1", "--submitit-signal-delay", "40", "--retries", "30")


class Wave:
    """One workflow under fire."""

    def __init__(self, folder: Path, cluster: Path, rng: random.Random) -> None:
        self.cluster, self.rng = cluster, rng
        self.flow = Workflow(folder, "slurm", OPTIONS)
        self.flow.write(STEPS, SECONDS)
        self.outer = self.flow.start(jobs=JOBS)
        self.injected: Counter[str] = Counter()
        self.faults = {
            "SIGKILL of the training": self.kill_training,
            "SIGKILL of the job's processes": self.kill_tree,
            "SIGKILL of Snakemake": self.kill_snakemake,
            "SIGTERM of Snakemake": self.end_snakemake,
            "scontrol requeue": self.requeue,
            "time-limit signal": self.warn,
            "scancel": self.cancel,
            "slurmd stopped and started": self.restart_slurmd,
            "sacct fails": self.break_sacct,
            "checkpoint truncated": self.truncate,
        }

    def job(self) -> str | None:
        """Return a running training's job id, if there is one."""
        command = ["squeue", "-h", "-r", "-t", "running", "-n", "train", "-o", "%i"]
        ids = subprocess.run(command, capture_output=True, text=True).stdout.split()
        return self.rng.choice(ids) if ids else None

    def tell(self, *command: str) -> bool:
        """Run a Slurm command on a running training; False where none runs."""
        one = self.job()
        return one is not None and subprocess.run([*command, one], capture_output=True).returncode == 0

    def kill_training(self) -> bool:
        pids = self.flow.processes()
        if pids:
            os.kill(self.rng.choice(pids), signal.SIGKILL)
        return bool(pids)

    def kill_tree(self) -> bool:
        return self.tell("scancel", "--full", "--signal=KILL")

    def requeue(self) -> bool:
        return self.tell("scontrol", "requeue")

    def warn(self) -> bool:
        # only to a training that has its handlers: a second after its start, as from a real time limit
        return bool(self.flow.processes()) and self.tell("scancel", "--signal=USR2")

    def cancel(self) -> bool:
        return self.tell("scancel")

    def kill_snakemake(self) -> bool:
        self.outer.kill()
        self.revive()
        return True

    def end_snakemake(self) -> bool:
        self.outer.terminate()
        self.revive()
        return True

    def revive(self) -> None:
        """Start Snakemake again after it has ended, as a person would."""
        self.outer.wait(60)
        self.flow.unlock()
        self.outer = self.flow.start(jobs=JOBS)

    def restart_slurmd(self) -> bool:
        os.kill(int((self.cluster / "slurmd.pid").read_text()), signal.SIGTERM)
        time.sleep(2)
        name = subprocess.run(["hostname", "-s"], capture_output=True, text=True).stdout.strip()
        return subprocess.run(["slurmd", "-N", name], capture_output=True).returncode == 0

    def break_sacct(self) -> bool:
        mark = self.cluster / "sacct-broken"
        if mark.exists():
            return False
        mark.touch()  # until the end of the wave
        return True

    def truncate(self) -> bool:
        files = list((self.flow.folder / "state").glob("*.last"))
        if not files or not self.kill_training():
            return False
        file = self.rng.choice(files)
        file.write_bytes(file.read_bytes()[:7])
        return True

    def inject(self) -> None:
        name = self.rng.choice(list(self.faults))
        if self.faults[name]():
            self.injected[name] += 1
            print(f"  {time.strftime('%H:%M:%S')} {name}", flush=True)

    def run(self, faults: int) -> None:
        """Inject so many faults, then wait for the end; Snakemake is started again where it gave up."""
        last = time.monotonic()
        while not (self.flow.folder / "last.txt").exists() or self.outer.poll() is None:
            self.outer.poll()
            if self.injected.total() < faults:
                time.sleep(self.rng.uniform(0.5, 5))
                if not (self.flow.folder / "last.txt").exists():
                    self.inject()
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE:
                return
            elif self.outer.poll() is not None:
                self.revive()
            time.sleep(0.2)

    def verdict(self) -> list[str]:
        """Return what is wrong, nothing if the wave survived."""
        wrong = []
        weights = "start"
        for step in range(STEPS):
            weights = advance(weights, step)
        for n in range(JOBS):
            path = self.flow.folder / f"out/{n}.txt"
            if not path.exists() or path.read_text().split()[1] != weights:
                wrong.append(f"training {n} has other weights than the undisturbed one, or none")
            wrong += self.repeated(n)
        left = subprocess.run(["squeue", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True).stdout
        if left.strip():
            wrong.append(f"left in the queue: {left.split()}")
        if self.flow.processes():
            wrong.append("trainings still run")
        return wrong

    def repeated(self, n: int) -> list[str]:
        """Compare the journal of one training with what its starts allow."""
        journal = self.flow.journal(n)
        steps = [words for words in journal if words[0] == "step"]
        starts = len(self.flow.starts(n))
        # a start repeats at most one interval, two where the newest checkpoint was truncated
        bound = STEPS + (starts - 1 + self.injected["checkpoint truncated"]) * EVERY
        order = [words[2] for words in journal]
        pids = list(dict.fromkeys(order))
        wrong = []
        if len(steps) > bound:
            wrong.append(f"training {n}: {len(steps)} steps in {starts} starts, {bound} would do")
        if order != sorted(order, key=pids.index):
            wrong.append(f"training {n} ran twice at once")
        return wrong


def main() -> int:
    """Run waves until enough faults were injected or the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the folders of the waves")
    options = parser.parse_args()
    rng, end = random.Random(options.seed), time.monotonic() + 60 * options.minutes
    folder = Path(tempfile.mkdtemp(prefix="bench-campaign-"))
    folder.chmod(0o755)  # munge's own user must get to its socket
    cluster = folder / "slurm"
    os.environ.update(SLURM_CONF=str(cluster / "slurm.conf"), PATH=f"{HERE / 'bin'}:{os.environ['PATH']}")
    total: Counter[str] = Counter()
    lost = waves = 0
    try:
        subprocess.run([HERE / "cluster.sh", "start", cluster], check=True)
        while total.total() < options.faults and time.monotonic() < end:
            waves += 1
            print(f"wave {waves}", flush=True)
            (folder / str(waves)).mkdir()
            wave = Wave(folder / str(waves), cluster, rng)
            began = time.monotonic()
            try:
                wave.run(min(PER_WAVE, options.faults - total.total()))
                wrong = wave.verdict()
            finally:
                wave.flow.end()
                (cluster / "sacct-broken").unlink(missing_ok=True)
            total += wave.injected
            lost += bool(wrong)
            print(
                f"  {wave.injected.total()} faults, {time.monotonic() - began:.0f} s: {wrong or 'survived'}"
            )
    finally:
        subprocess.run(["scancel", "-u", str(os.getuid())], check=False)
        subprocess.run([HERE / "cluster.sh", "stop", cluster], check=False)
        if not options.keep and not lost:
            shutil.rmtree(folder, ignore_errors=True)
    print(
        json.dumps({"faults": total.total(), "waves": waves, "waves lost": lost, "by kind": total}, indent=1)
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
