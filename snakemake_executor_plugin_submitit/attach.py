"""What to do with a job of which a killed predecessor has left a record: follow it, or end it and submit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit.queues import QUEUES, State, wait_until_gone
from snakemake_executor_plugin_submitit.sidecar import Record, Records, fingerprint_of, key_of, outputs


@dataclass
class Verdict:
    """Ready jobs, sorted: those to follow, those to submit, and those a stubborn old job blocks."""

    follow: list[tuple[JobExecutorInterface, Record]] = field(default_factory=list)
    submit: list[JobExecutorInterface] = field(default_factory=list)
    blocked: list[tuple[JobExecutorInterface, Record]] = field(default_factory=list)


def sort_out(jobs: Sequence[JobExecutorInterface], records: Records, cluster: str) -> Verdict:
    """Decide for each job; jobs of other settings that still live are cancelled and waited for."""
    known = {id(job): record for job in jobs if (record := records.read(key_of(job)))}
    states = _states(list(known.values()))
    verdict, stale = Verdict(), []
    for job in jobs:
        record = known.get(id(job))
        if record is None:
            verdict.submit.append(job)
        elif record.cluster == cluster and _goes_on(job, record, states):
            verdict.follow.append((job, record))
        elif not _succeeded(record) and _may_live(record, states):
            stale.append((job, record))
        else:
            records.remove(record.key)
            verdict.submit.append(job)
    left = _end([record for _, record in stale])
    for job, record in stale:
        if record in left:
            verdict.blocked.append((job, record))
        else:
            records.remove(record.key)
            verdict.submit.append(job)
    return verdict


def _states(records: Sequence[Record]) -> dict[str, dict[str, State] | None]:
    """Ask each cluster once: cluster -> job id -> state (None where its queue does not answer)."""
    clusters = {record.cluster for record in records}
    return {name: QUEUES[name]().states([r for r in records if r.cluster == name]) for name in clusters}


def _may_live(record: Record, states: dict[str, dict[str, State] | None]) -> bool:
    known = states[record.cluster]
    return known is None or (record.job_id in known and known[record.job_id].alive)


def _goes_on(job: JobExecutorInterface, record: Record, states: dict[str, dict[str, State] | None]) -> bool:
    if record.fingerprint != fingerprint_of(job):
        return False
    if not _succeeded(record):  # also after an error: Slurm may have requeued it
        return _may_live(record, states)
    return all(Path(path).exists() for path in outputs(job))


def _succeeded(record: Record) -> bool:
    result = record.result()
    return result is not None and result[0] == "success"


def _end(records: Sequence[Record]) -> list[Record]:
    """Cancel these and wait; return those that still live."""
    left = []
    for name in {record.cluster for record in records}:
        queue, mine = QUEUES[name](), [record for record in records if record.cluster == name]
        queue.cancel(mine)
        left += wait_until_gone(queue, mine)
    return left
