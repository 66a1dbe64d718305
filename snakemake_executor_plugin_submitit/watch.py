"""One watcher for all jobs: looks for results, and asks the queue now and then who is gone without one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_plugin_submitit.queues import DebugQueue, LocalQueue, SlurmQueue, State
from snakemake_executor_plugin_submitit.sidecar import Record

SILENCE = 300.0  # seconds without an answer of squeue between two warnings

# Reasons for which a pending job will not start unless a person changes something
STUCK = {
    "AssocGrpJobsLimit",
    "AssociationResourceLimit",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "JobHeldUser",
    "PartitionDown",
    "PartitionInactive",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSResourceLimit",
}
HELD = (
    "launch failed requeued held"  # by Slurm, after a node could not start it: only a person would let it go
)
# Words that name what happened, for states of Slurm's own
MEANING = {
    "CANCELLED": "it was cancelled from outside",
    "OUT_OF_MEMORY": "it needed more memory than mem_mb allows",
    "TIMEOUT": "it reached its time limit and did not answer the warning signal",
    "NODE_FAIL": "its node failed",
    "COMPLETED": "it ended without writing its result (is the disk full?)",
}


@dataclass(frozen=True)
class Outcome:
    """How a job ended; ``message`` is empty for a success."""

    success: bool
    message: str = ""


class Watcher:
    """Knows which jobs have succeeded from their result files, and asks the queue for others every ``interval`` s.

    A job that is gone from the queue and has no result is declared lost after two looks, or, where
    accounting gives no final state for it either, after four: a shared file system shows a result late.
    """

    def __init__(
        self,
        queue: SlurmQueue | LocalQueue | DebugQueue,
        interval: float,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queue, self.interval, self.warn, self.clock = queue, interval, warn, clock
        self.asked = self.answered = self.warned = clock()
        self.looks: dict[str, int] = {}
        self.reasons: set[str] = set()

    def ended(self, records: Sequence[Record]) -> dict[str, Outcome]:
        """Return the outcome of each job that has ended, by the record's key."""
        results = {record.key: result for record in records if (result := record.result())}
        outcomes = {key: Outcome(True) for key, (kind, _) in results.items() if kind == "success"}
        waiting = [record for record in records if record.key not in outcomes]
        if waiting and self.clock() - self.asked >= self.interval:
            self.asked = self.clock()
            outcomes |= self._lost(waiting)
        for key in outcomes:
            self.looks.pop(key, None)
        return outcomes

    def _lost(self, records: Sequence[Record]) -> dict[str, Outcome]:
        """Return the outcomes of those that will bring no success.

        An error counts only when the queue has let the job go: it may have been requeued at that very moment.
        """
        states = self.queue.states(records)
        if states is None:
            self._complain()
            return {}
        self.answered = self.clock()
        self._warn_of_stuck(records, states)
        found = {}
        for record in records:
            state = states.get(record.job_id)
            if state is not None and state.reason == HELD:
                self.queue.cancel([record])
                found[record.key] = Outcome(False, f"Job {record.job_id}: no node could start it ({HELD}).")
                continue
            if state is not None and state.alive:
                self.looks.pop(record.key, None)
                continue
            self.looks[record.key] = self.looks.get(record.key, 0) + 1
            if result := record.result():
                found[record.key] = _outcome(result)
            elif self.looks[record.key] >= 2 and (reason := self._reason(record, state)):
                found[record.key] = Outcome(False, reason)
        return found

    def _reason(self, record: Record, state: State | None) -> str:
        """Return why the job ended without a result; empty while it may still bring one."""
        last = state.name if state is not None else self.queue.last_state(record)
        word = (last or "").split(" ")[0]
        final = bool(word) and not State(word).alive
        if not final and self.looks[record.key] < 4:
            return ""
        text = f"{last}, {MEANING.get(word, 'without a result')}" if final else "no queue knows it any more"
        return f"Job {record.job_id} was lost: {text}."

    def _complain(self) -> None:
        now = self.clock()
        if now - self.answered >= SILENCE and now - self.warned >= SILENCE:
            self.warned = now
            self.warn(
                f"squeue has not answered for {(now - self.answered) / 60:.0f} minutes. Results are still "
                "collected; a job killed without a result is noticed only when squeue answers again."
            )

    def _warn_of_stuck(self, records: Iterable[Record], states: dict[str, State]) -> None:
        for record in records:
            state = states.get(record.job_id)
            if state is None or state.reason not in STUCK or state.reason in self.reasons:
                continue
            self.reasons.add(state.reason)
            self.warn(
                f"Job {record.job_id} ({record.name}) will not start by itself: Slurm's reason is "
                f"{state.reason}. Change the resources in the profile, or ask the site."
            )


def _outcome(result: tuple[str, object]) -> Outcome:
    kind, value = result
    return Outcome(True) if kind == "success" else Outcome(False, str(value).strip().splitlines()[-1])


def last_lines(paths: Iterable[str | Path], count: int = 12) -> str:
    """Return the last lines of the first of these logs that says anything, indented, with its name."""
    for path in map(Path, paths):
        if not path.is_file():
            continue
        if lines := _tail(path):
            return "\n".join([f"last lines of {path}:", *(f"    {line}" for line in lines[-count:])])
    return ""


def killed_for_memory(path: Path) -> str:
    """Return a sentence where a job's error log says that it was killed for its memory, or by nobody who said why.

    Slurm calls such a job FAILED as often as OUT_OF_MEMORY, and the program's own log ends without a word.
    """
    if not path.is_file():
        return ""
    lines = _tail(path)
    if found := [line for line in lines if _MEMORY.search(line)]:
        return f"It needed more memory than mem_mb allows ({found[-1].strip()})."
    if any(_KILLED.search(line) for line in lines):
        return "A process of it was killed (SIGKILL), most often because the node's memory was full: raise mem_mb."
    return ""


_MEMORY = re.compile(r"oom.?kill|exceeded (job |step )?memory limit|out-of-memory handler", re.IGNORECASE)
_KILLED = re.compile(r"^\S*sh: line \d+: +\d+ Killed\b")


def _tail(path: Path) -> list[str]:
    """Return the lines of the end of a log that say anything; logs of days are long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16384))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()]
