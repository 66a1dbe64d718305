"""Slurm as its commands show it, and the processes of submitit's local cluster: who is alive, how jobs get in and out."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snakemake_executor_plugin_submitit.records import Record

# States in which Slurm will never run a job again (squeue's long names)
FINAL = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
FINAL |= {"PREEMPTED", "REVOKED", "TIMEOUT"}
# What Slurm says while its controller is restarting, busy or unreachable, and while too many jobs are queued
PASSING: tuple[str, ...] = ("unable to contact slurm controller", "timed out", "connection", "zero bytes")
PASSING += ("communication", "temporarily", "not responding", "standby", "maxsubmitjob")
# What it says of a request that no node can meet, and also while the only nodes that can are restarting
UNAVAILABLE, ASKED = "configuration is not available", 3
FULL = {errno.ENOSPC, errno.EDQUOT, errno.ESTALE}
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two attempts, doubled each time
WAIT_FOR_CANCEL = 120.0  # seconds; Slurm kills KillWait (30 s by default) after SIGTERM


@dataclass(frozen=True)
class State:
    """A job's state in Slurm's words (RUNNING, PENDING, ...), the reason why it waits, and its batch script."""

    name: str
    reason: str = ""
    script: str = ""

    @property
    def alive(self) -> bool:
        """Tell whether the job runs or may run again."""
        return self.name not in FINAL


class Refused(Exception):
    """Slurm, or the file system, did not take a job; the text is theirs. A ``passing`` refusal may soon be over."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing or any(words in text.lower() for words in PASSING)


def ask(*command: str) -> str:
    """Return what a command of Slurm prints; raises Refused with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} timed out after a minute.") from None
    except OSError as error:
        raise Refused(f"{command[0]}: {error.strerror}.") from None
    if done.returncode != 0:
        raise Refused(" ".join(done.stderr.split()))
    return done.stdout


def states(cluster: str, records: Sequence[Record]) -> dict[str, State] | None:
    """Return states by job id: of all jobs of this user on Slurm, of the living among ``records`` elsewhere.

    None if Slurm does not answer.
    """
    if cluster != "slurm":
        return {record.job_id: State("RUNNING") for record in records if _controller_lives(record)}
    try:
        text = ask("squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", "%i|%T|%r|%o")
    except Refused:
        return None
    rows = [line.split("|", 3) for line in text.splitlines() if line.count("|") >= 3]
    return {job_id: State(*rest) for job_id, *rest in rows}


def _controller_lives(record: Record) -> bool:
    """Tell whether a job of submitit's local cluster runs; its id is the process id of its controller."""
    import psutil

    try:
        words = psutil.Process(int(record.job_id)).cmdline()
    except (psutil.Error, ValueError):  # cluster debug has no processes
        return False
    # A process id is used again some day, perhaps by another project's controller
    return "submitit.local._local" in words and record.folder in words


def cancel(cluster: str, records: Sequence[Record]) -> bool:
    """Cancel these jobs and no others; True if that was accepted."""
    if cluster != "slurm":  # controllers end their task when interrupted, which ends what it started
        for record in filter(_controller_lives, records):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(record.job_id), signal.SIGINT)
        return True
    ids = [record.job_id for record in records]
    with contextlib.suppress(Refused):
        for first in range(0, len(ids), 500):  # as many as fit into a command line
            ask("scancel", *ids[first : first + 500])
        return True
    return False


def alive(records: Sequence[Record]) -> list[Record]:
    """Return the jobs that live, of any cluster; where Slurm does not answer, all may."""
    found = []
    for cluster, mine in _by_cluster(records).items():
        known = states(cluster, mine)
        found += [one for one in mine if known is None or (one.job_id in known and known[one.job_id].alive)]
    return found


def end(records: Sequence[Record], seconds: float = WAIT_FOR_CANCEL) -> list[Record]:
    """Cancel jobs of any cluster and wait until they have ended; return those that live when the time is over."""
    limit = time.monotonic() + seconds
    for cluster, mine in _by_cluster(records).items():
        if not cancel(cluster, mine):
            return list(records)
    while (records := alive(records)) and time.monotonic() < limit:
        time.sleep(1)
    return list(records)


def _by_cluster(records: Sequence[Record]) -> dict[str, list[Record]]:
    names = {record.cluster for record in records}
    return {name: [record for record in records if record.cluster == name] for name in names}


def patiently(attempt: Callable, warn: Callable[[str], None]):
    """Return what ``attempt`` returns, trying again with growing pauses while a refusal can pass.

    Raises Refused for one that will not pass, and where nodes are not available at the third attempt.
    """
    pause, tried = FIRST_PAUSE, 0
    while True:
        try:
            return attempt()
        except Refused as refusal:
            tried += 1
            if not refusal.passing and (UNAVAILABLE not in str(refusal) or tried >= ASKED):
                raise
            warn(f"{refusal} Trying again in {pause:.0f} s; this is not a failed attempt.")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def executor(settings, wanted: dict[str, object]):
    """Return a submitit executor for these parameters; cluster, folder and set-up come from the settings."""
    from submitit import AutoExecutor

    limit = {f"{settings.cluster}_max_num_timeout": settings.max_num_timeout}
    made = AutoExecutor(
        settings.folder, cluster=settings.cluster, **({} if settings.cluster == "debug" else limit)
    )
    made.update_parameters(
        **wanted,
        slurm_signal_delay_s=settings.signal_delay,
        slurm_array_parallelism=settings.array_limit,
        slurm_setup=["export SUBMITIT_BATCH_PID=$$", *filter(None, [settings.setup])],
    )
    return made


def submit(settings, wanted: dict[str, object], calls: Sequence) -> list:
    """Submit callables as one array (or one job) and return submitit's jobs, in order; raises Refused."""
    from submitit.core.utils import FailedJobError

    try:
        made = executor(settings, wanted)
        return [made.submit(calls[0])] if len(calls) == 1 else made.submit_array(list(calls))
    except FailedJobError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Refused(" ".join([line for line in said if line.startswith("sbatch: ")] or said[-3:])) from None
    except OSError as error:
        raise Refused(
            f"{error.filename or settings.folder}: {error.strerror}.", error.errno in FULL
        ) from None


def check(settings, wanted: dict[str, object]) -> None:
    """Ask Slurm whether it would accept such a job, without submitting it; raises Refused with its text."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(executor(settings, wanted)._executor._make_submission_file_text("true", "test"))
        file.flush()
        ask("sbatch", "--test-only", file.name)


def largest_array() -> int:
    """Return the site's MaxArraySize (Slurm's default, 1001, where scontrol does not say); raises Refused."""
    lines = ask("scontrol", "show", "config").splitlines()
    return next((int(line.partition("=")[2]) for line in lines if line.startswith("MaxArraySize")), 1001)
