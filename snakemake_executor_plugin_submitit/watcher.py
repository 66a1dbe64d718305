"""One watcher for all jobs: looks for their results, and asks Slurm now and then which jobs are gone without one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_plugin_submitit import slurm
from snakemake_executor_plugin_submitit.records import Record, RecordFolder, why_unwritable
from snakemake_executor_plugin_submitit.slurm import State

SILENCE = 300.0  # seconds without an answer of squeue between two warnings
LEAVE = 20.0  # seconds that jobs whose result was seen have to leave the queue before the end

# Reasons for which a pending job will not start unless someone intervenes
STUCK = {"AssocGrpJobsLimit", "AssociationResourceLimit", "BadConstraints", "DependencyNeverSatisfied"}
STUCK |= {"InvalidAccount", "InvalidQOS", "JobHeldAdmin", "JobHeldUser", "PartitionDown", "PartitionInactive"}
STUCK |= {"PartitionNodeLimit", "PartitionTimeLimit", "QOSResourceLimit"}
# By Slurm, after a node could not start the job; only a user can release it
HELD = "launch failed requeued held"
MEANING = {
    "CANCELLED": "it was cancelled from outside",
    "OUT_OF_MEMORY": "it needed more memory than mem_mb allows",
    "TIMEOUT": "it reached its time limit and did not answer the warning signal",
    "NODE_FAIL": "its node failed",
    "COMPLETED": "it ended without writing its result",
}


@dataclass
class Watcher:
    """Knows which jobs have succeeded from their result files, and asks Slurm about the others every ``interval`` s.

    A job without a result is lost where Slurm shows an end at two looks, or does not know it at four: a shared file
    system shows a result late.
    """

    cluster: str
    records: RecordFolder
    interval: float
    warn: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    looks: dict[str, int] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    strays: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.asked = self.answered = self.warned = self.clock()

    def ended(self, records: Sequence[Record]) -> dict[str, str]:
        """Return the jobs that have ended by their keys, each with what went wrong, "" for a success."""
        found = {record.key: "" for record in records if record.result() == ""}
        waiting = [record for record in records if record.key not in found]
        if waiting and self.clock() - self.asked >= self.interval:
            self.asked = self.clock()
            states = slurm.states(self.cluster, records)
            if states is None:
                self._complain()
            else:
                self.answered = self.clock()
                self.cancel_strays(states)
                failed = {record.key: self._failure(record, states.get(record.job_id)) for record in waiting}
                found |= {key: message for key, message in failed.items() if message}
        return found

    def _failure(self, record: Record, state: State | None) -> str:
        """Return why a job will bring no success, "" while it may.

        An error counts only when the queue has let the job go: Slurm may have requeued it at that very moment.
        """
        if state and state.reason == HELD:
            slurm.cancel(self.cluster, [record])
            return f"Job {record.job_id}: no node could start it ({HELD})."
        if state and state.alive:
            self.looks[record.job_id] = 0
            self._warn_if_stuck(record, state)
            return ""
        if (result := record.result()) is not None:
            return (
                result.strip().splitlines()[-1].removeprefix(f"{__package__}.node.JobFailed: ")
                if result
                else ""
            )
        looks = self.looks[record.job_id] = self.looks.get(record.job_id, 0) + 1
        if looks < (2 if state else 4):
            return ""
        why = (
            f"{state.name}, {MEANING.get(state.name, 'without a result')}"
            if state
            else "Slurm does not know it any more"
        )
        return f"Job {record.job_id} was lost: {why}. {why_unwritable(Path(record.folder))}".rstrip()

    def cancel_strays(self, states: Mapping[str, State] | None, at_once: bool = False) -> None:
        """Cancel jobs of this folder that no job needs, at the second look unless ``at_once``.

        These are jobs whose result was seen and that do not leave the queue, and jobs that Slurm accepted although
        sbatch did not say so, or that were submitted just as Snakemake was stopped.
        """
        folder = self.records.folder.parent
        found = {
            job_id
            for job_id, state in (states or {}).items()
            if state.alive
            and state.name != "COMPLETING"
            and state.script
            and Path(state.script).parent == folder
        }
        found = found and found - self.records.job_ids()
        if doomed := sorted(found if at_once else found & self.strays):
            self.warn(f"Cancelled, because no job needs them: {' '.join(doomed)}")
            slurm.cancel(
                self.cluster, [Record("", "", job_id, self.cluster, str(folder), "") for job_id in doomed]
            )
        self.strays = found

    def finish(self, seconds: float = LEAVE) -> None:
        """Wait until jobs whose result was seen have left the queue, and cancel those that stay."""
        end = self.clock() + seconds
        while (states := slurm.states(self.cluster, [])) is not None:
            self.strays = set()
            self.cancel_strays(states, at_once=self.clock() >= end)
            if not self.strays or self.clock() >= end:
                return
            time.sleep(0.5)

    def _complain(self) -> None:
        now = self.clock()
        if now - self.answered >= SILENCE and now - self.warned >= SILENCE:
            self.warned = now
            self.warn(
                f"squeue has not answered for {(now - self.answered) / 60:.0f} minutes. Results are still "
                "collected; a job killed without a result is noticed only when squeue answers again."
            )

    def _warn_if_stuck(self, record: Record, state: State) -> None:
        if state.reason in STUCK - self.reasons:
            self.reasons.add(state.reason)
            self.warn(
                f"Job {record.job_id} ({record.name}) will not start by itself: Slurm's reason is "
                f"{state.reason}. Change the resources in the profile, or ask the site."
            )


def last_lines(paths: Iterable[str | Path], count: int = 12) -> str:
    """Return the last lines of the first of these logs that says anything, indented, with its name."""
    for path in map(Path, paths):
        if path.is_file() and (lines := _tail(path)):
            return "\n".join([f"last lines of {path}:", *(f"    {line}" for line in lines[-count:])])
    return ""


def killed_for_memory(path: Path) -> str:
    """Return a sentence where a job's error log says that it was killed for its memory, or killed without a reason.

    Slurm calls such a job FAILED as often as OUT_OF_MEMORY, and the program's own log ends without a word.
    """
    lines = _tail(path) if path.is_file() else []
    if found := [line for line in lines if _MEMORY.search(line)]:
        return f"It needed more memory than mem_mb allows ({found[-1].strip()})."
    if any(_KILLED.search(line) for line in lines):
        return "One of its processes was killed (SIGKILL), most often because the node's memory was full: raise mem_mb."
    return ""


_MEMORY = re.compile(r"oom.?kill|exceeded (job |step )?memory limit|out-of-memory handler", re.IGNORECASE)
_KILLED = re.compile(r"^\S*sh: line \d+: +\d+ Killed\b")


def _tail(path: Path) -> list[str]:
    """Return the lines of the end of a log that say anything; logs of days are long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16384))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()]
