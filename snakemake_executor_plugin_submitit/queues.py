"""Who is alive: Slurm's queue and the processes of submitit's local cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from snakemake_executor_plugin_submitit.sidecar import Record

# States in which Slurm will never run a job again (squeue's long names)
FINAL = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
WAIT_FOR_CANCEL = 120.0  # seconds; Slurm kills KillWait (30 s by default) after SIGTERM


@dataclass(frozen=True)
class State:
    """A job's state in Slurm's words (RUNNING, PENDING, ...) and the reason it waits."""

    name: str
    reason: str = ""

    @property
    def alive(self) -> bool:
        return self.name not in FINAL


class SlurmQueue:
    """Slurm as its commands show it; ``calls`` counts them for the benchmark."""

    def __init__(self) -> None:
        self.calls = {"squeue": 0, "sacct": 0, "scancel": 0}

    def states(self, records: Sequence[Record]) -> dict[str, State] | None:
        """Return the states of all of this user's jobs by job id; None where squeue does not answer."""
        text = self._ask("squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", "%i|%T|%r")
        if text is None:
            return None
        rows = [line.split("|", 2) for line in text.splitlines() if line.count("|") >= 2]
        return {job_id: State(name, reason) for job_id, name, reason in rows}

    def last_state(self, record: Record) -> str | None:
        """Return what accounting says of a job that squeue has forgotten; None without an answer."""
        text = self._ask("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", record.job_id)
        for line in (text or "").splitlines():
            job_id, _, state = line.partition("|")
            if job_id == record.job_id:
                return state.strip()
        return None

    def cancel(self, records: Sequence[Record]) -> bool:
        """Cancel these jobs and no others; True if Slurm accepted."""
        for record in records:
            with contextlib.suppress(OSError):  # it only makes the job's end faster
                record.path("cancelled").touch()
        ids = [record.job_id for record in records]
        # in pieces, so that thousands of ids fit into a command line
        answers = [self._ask("scancel", *ids[i : i + 500]) for i in range(0, len(ids), 500)]
        return None not in answers

    def _ask(self, *command: str) -> str | None:
        self.calls[command[0]] += 1
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


class LocalQueue:
    """Jobs of submitit's local cluster: each has a controller process, and its pid is the job id."""

    def states(self, records: Sequence[Record]) -> dict[str, State]:
        """Return the living ones by job id."""
        return {record.job_id: State("RUNNING") for record in records if self._controls(record)}

    def last_state(self, record: Record) -> str | None:
        """Return nothing: a process that has ended leaves no state."""
        return None

    def cancel(self, records: Sequence[Record]) -> bool:
        """Interrupt the controllers; each ends its task, which ends what it started."""
        for record in records:
            if self._controls(record):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(record.job_id), signal.SIGINT)
        return True

    def _controls(self, record: Record) -> bool:
        import psutil

        try:
            words = psutil.Process(int(record.job_id)).cmdline()
        except psutil.Error:
            return False
        # A pid is used again some day, perhaps by another project's controller
        return "submitit.local._local" in words and record.folder in words


class DebugQueue:
    """Jobs in this very process: alive as long as it is, never found again."""

    def states(self, records: Sequence[Record]) -> dict[str, State]:
        """Return nothing, because an earlier process took its jobs with it."""
        return {}

    def last_state(self, record: Record) -> str | None:
        """Return nothing."""
        return None

    def cancel(self, records: Sequence[Record]) -> bool:
        """Accept; the executor stops the one running command itself."""
        return True


def wait_until_gone(
    queue: SlurmQueue | LocalQueue | DebugQueue, records: Sequence[Record], seconds: float = WAIT_FOR_CANCEL
) -> list[Record]:
    """Wait until cancelled jobs have ended; return those that still live when the time is over."""
    end = time.monotonic() + seconds
    left = list(records)
    while left and time.monotonic() < end:
        states = queue.states(left)
        if states is not None:
            left = [record for record in left if record.job_id in states and states[record.job_id].alive]
        if left:
            time.sleep(1)
    return left


QUEUES = {"slurm": SlurmQueue, "local": LocalQueue, "debug": DebugQueue}
