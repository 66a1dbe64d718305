"""A fault campaign on the one-node Slurm: random faults at random moments, then a look at what came out.

    python tests/slurm/campaign.py --faults 60 --minutes 40 --seed 1

Runs waves of a small workflow of real trainings. A wave survives if all weights equal those of undisturbed
trainings bit for bit, no training began before the newest checkpoint that lay there or ran twice at once, and no
job or process is left. Exit status 1 if one does not.
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
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "executor")]

from trainings import Trainings, Witness, prepare, weights  # noqa: E402

PER_WAVE = 12  # faults; afterwards the wave may end in peace
PATIENCE = 300.0  # seconds for a wave after its last fault
OPTIONS = (
    "--submitit-queue-interval",
    "1",
    "--submitit-signal-delay",
    "15",
    "--retries",
    "50",
    "--keep-going",
)
NODE = os.uname().nodename.split(".")[0]


def quiet(*command: str) -> bool:
    """Run a command without its output; return whether it succeeded."""
    return subprocess.run(command, capture_output=True).returncode == 0


def queue(*options: str) -> list[str]:
    """Return the ids of the trainings in the queue, array members one by one."""
    command = ["squeue", "-h", "-r", "-n", "train", "-o", "%i", *options]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def kill_step_daemons(cluster: Path, job: str) -> bool:
    """Kill the step daemons of one job of this cluster, and of no other; return whether there were any."""
    found = False
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_text()
            if (
                name.startswith(f"slurmstepd: [{job.partition('_')[0]}")
                and (folder / "cwd").resolve() == cluster
            ):
                os.kill(int(folder.name), signal.SIGKILL)
                found = True
        except (OSError, UnicodeDecodeError):
            continue
    return found


class Wave:
    """One workflow under fire; ``calm`` holds the data, ``wanted`` maps runs to the weights they must have."""

    def __init__(
        self, folder: Path, cluster: Path, calm: Path, wanted: dict[str, str], rng: random.Random
    ) -> None:
        self.cluster, self.wanted, self.rng = cluster, wanted, rng
        folder.mkdir()
        # on a disk of its own, where that can be had, which can be filled
        self.mounted = quiet("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder))
        self.flow = Trainings(folder, "slurm", OPTIONS)
        self.flow.prepare(calm, list(wanted))
        self.witness = Witness(folder)
        self.outer = self.flow.start()
        self.injected: Counter[str] = Counter()
        self.faults: dict[str, Callable[[], bool]] = {
            "SIGKILL of the training": self.kill_training,
            "SIGKILL of the job's processes": lambda: self.tell("scancel", "--full", "--signal=KILL"),
            "SIGKILL of Snakemake": self.kill_snakemake,
            "SIGTERM of Snakemake": self.end_snakemake,
            "scontrol requeue": lambda: self.tell("scontrol", "requeue"),
            "pre-emption": self.preempt,
            "time-limit signal": self.warn,
            "hung training": self.hang,
            "scancel": lambda: self.tell("scancel"),
            "node failure": self.fail_node,
            "slurmd stopped and started": self.restart_slurmd,
            "controller away": self.stop_controller,
            "SIGKILL of the step daemons": self.kill_step_daemons,
            "checkpoint truncated": self.truncate,
            "disk full": self.fill_disk,
        }

    def tell(self, *command: str) -> bool:
        """Run a Slurm command on a running training; False where none runs."""
        ids = queue("-t", "running")
        return bool(ids) and quiet(*command, self.rng.choice(ids))

    def signal(self, number: int) -> bool:
        pids = self.flow.training()
        if pids:
            os.kill(self.rng.choice(pids), number)
        return bool(pids)

    def kill_training(self) -> bool:
        return self.signal(signal.SIGKILL)

    def warn(self) -> bool:
        return bool(self.flow.training()) and self.tell("scancel", "--signal=USR2")

    def hang(self) -> bool:
        # it answers nothing; the time limit that would end this is sent at once
        pids = self.flow.training()
        if len(pids) != len(queue("-t", "running")):
            return False
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return bool(pids) and all(quiet("scancel", "--signal=USR2", one) for one in queue("-t", "running"))

    def preempt(self) -> bool:
        """Let a job of a partition that goes first ask for the whole node."""
        return bool(queue("-t", "running")) and quiet(
            "sbatch", "-p", "urgent", "-c", "8", "--mem=1", "-o", "/dev/null", "--wrap", "sleep 1"
        )

    def fail_node(self) -> bool:
        if not queue("-t", "running"):
            return False
        quiet("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=campaign")
        time.sleep(2)
        return quiet("scontrol", "update", f"NodeName={NODE}", "State=RESUME")

    def restart_slurmd(self) -> bool:
        pid = int((self.cluster / "slurmd.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.5)
        return quiet("slurmd", "-N", NODE)

    def stop_controller(self) -> bool:
        """End slurmctld for some seconds."""
        pid = (self.cluster / "slurmctld.pid").read_text().strip()
        quiet("kill", pid)
        end = time.monotonic() + 60
        while Path("/proc", pid).exists() and time.monotonic() < end:
            time.sleep(0.5)
        time.sleep(self.rng.uniform(1, 8))
        return quiet("slurmctld")

    def kill_step_daemons(self) -> bool:
        """Let Slurm believe that a job runs for ever."""
        ids = queue("-t", "running")
        return bool(ids) and kill_step_daemons(self.cluster, self.rng.choice(ids))

    def truncate(self) -> bool:
        return self.kill_training() and self.witness.truncate()

    def fill_disk(self) -> bool:
        """Leave no byte for three seconds."""
        if not self.mounted or not self.flow.training():
            return False
        filler = self.flow.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**20))
            except OSError:
                time.sleep(3)
        filler.unlink()
        return True

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
        self.outer.wait(100)
        self.flow.unlock()
        self.outer = self.flow.start()

    def inject(self, name: str) -> bool:
        """Inject one fault; False where there was nothing to hit."""
        self.heal()
        hit = self.faults[name]()
        if hit:
            self.injected[name] += 1
            print(f"  {time.strftime('%H:%M:%S')} {name}", flush=True)
        return hit

    def heal(self) -> None:
        """Give back the node that Slurm drained, start the controller that died, as the people of a site would."""
        if not Path("/proc", (self.cluster / "slurmctld.pid").read_text().strip()).exists():
            print("  slurmctld had died", flush=True)
            quiet("slurmctld")
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout
        if "drain" in state or "down" in state:
            print("  the node was drained", flush=True)
            quiet("scontrol", "update", f"NodeName={NODE}", "State=RESUME")

    @property
    def done(self) -> bool:
        return (self.flow.folder / "last.txt").exists()

    def run(self, faults: int) -> None:
        """Inject so many faults from the first step on, every kind once in random order and again, then wait for the end."""
        end = time.monotonic() + PATIENCE
        while not self.flow.training() and time.monotonic() < end:
            time.sleep(0.2)
        deck: list[str] = []
        while not self.done and self.injected.total() < faults:
            time.sleep(self.rng.uniform(1, 7))
            deck = deck or self.rng.sample(list(self.faults), len(self.faults))
            if self.outer.poll() is not None and not self.done:
                self.heal()
                self.revive()  # it gave up, on a full disk for instance
            elif not self.done and not self.inject(fault := deck.pop()):
                deck.insert(0, fault)  # nothing to hit: later
        self.finish()

    def run_through(self, names: Sequence[str]) -> None:
        """Inject these in order, each as soon as there is something to hit, then wait for the end."""
        for name in names:
            end = time.monotonic() + PATIENCE
            while not self.done and time.monotonic() < end and not self.inject(name):
                time.sleep(0.2)
            time.sleep(1)
        self.finish()

    def finish(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not (self.done and self.outer.poll() is not None):
            self.heal()
            if self.outer.poll() is not None and not self.done:
                self.revive()
            time.sleep(1)

    def verdict(self) -> list[str]:
        """Return what is wrong, nothing if the wave survived."""
        wrong = []
        for run, known in self.wanted.items():
            if weights(self.flow.folder, run) != known:
                wrong.append(f"{run} has other weights than the undisturbed one, or none")
            wrong += self.witness.repeated(run, self.flow.attempts(run))
        if left := queue("-t", "pending,running,suspended"):
            wrong.append(f"left in the queue: {left}")
        # srun and the batch script are orphans of Slurm where its step daemons were killed
        commands = [words[:6] for _, words in self.flow.commands()]
        if left := [
            words for words in commands if words[0] != "srun" and "slurm_script" not in " ".join(words)
        ]:
            wrong.append(f"still running: {left}")
        return wrong

    def end(self) -> None:
        """Leave nothing behind but what was found out."""
        quiet("scancel", "-u", str(os.getuid()))
        self.witness.stop()
        self.flow.end()
        if self.mounted:
            quiet("umount", "-l", str(self.flow.folder))


def main() -> int:
    """Run waves until enough faults were injected or the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, end = random.Random(options.seed), time.monotonic() + 60 * options.minutes
    folder = Path(tempfile.mkdtemp(prefix="bench-campaign-"))
    folder.chmod(0o755)  # munge's own user must get to its socket
    cluster = folder / "slurm"
    os.environ["SLURM_CONF"] = str(cluster / "slurm.conf")
    total: Counter[str] = Counter()
    lost = waves = restarts = 0
    try:
        wanted = prepare(folder, options.steps, [10, 100])
        subprocess.run([HERE / "cluster.sh", "start", cluster], check=True)
        while total.total() < options.faults and time.monotonic() < end:
            waves += 1
            print(f"wave {waves}", flush=True)
            wave = Wave(folder / str(waves), cluster, folder / "calm", wanted, rng)
            began = time.monotonic()
            try:
                wave.run(min(PER_WAVE, options.faults - total.total()))
                wrong = wave.verdict()
                starts = sum(len(wave.flow.attempts(run)) for run in wanted)
                if wrong:
                    shutil.copy(wave.flow.folder / "outer.log", folder / f"wave{waves}.log")
            finally:
                wave.end()
            total += wave.injected
            restarts += starts - len(wanted)
            lost += bool(wrong)
            seconds = time.monotonic() - began
            print(
                f"  {wave.injected.total()} faults, {starts} starts, {seconds:.0f} s: {wrong or 'survived'}",
                flush=True,
            )
    finally:
        quiet("scancel", "-u", str(os.getuid()))
        subprocess.run([HERE / "cluster.sh", "stop", cluster], check=False)
        if not lost:
            shutil.rmtree(folder, ignore_errors=True)
    found = {"faults": total.total(), "waves": waves, "waves lost": lost, "restarts of trainings": restarts}
    print(json.dumps({**found, "by kind": total}, indent=1))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
