"""Snakemake executor that submits through submitit: clusters slurm, local and debug (see README.md)."""

# No `from __future__ import annotations` here: Snakemake reads the types of the settings as classes.

import signal
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit import submission
from snakemake_executor_plugin_submitit.attach import sort_out
from snakemake_executor_plugin_submitit.job import InnerRun
from snakemake_executor_plugin_submitit.owner import Owner
from snakemake_executor_plugin_submitit.queues import QUEUES, wait_until_gone
from snakemake_executor_plugin_submitit.sidecar import (
    Record,
    Records,
    fingerprint_of,
    key_of,
    members,
    planned_code,
)
from snakemake_executor_plugin_submitit.watch import Outcome, Watcher, killed_for_memory, last_lines

CANCEL_SECONDS = 60.0  # Slurm's KillWait is 30 s by default


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Command-line options and profile keys; each gets the prefix ``submitit-``."""

    cluster: str = field(
        default="slurm", metadata={"help": "slurm, local (processes here) or debug (one after the other)"}
    )
    folder: str = field(
        default=".snakemake/submitit", metadata={"help": "Shared folder of job scripts, results and logs"}
    )
    signal_delay: int = field(
        default=120, metadata={"help": "Seconds between the warning signal and the time limit", "type": int}
    )
    max_num_timeout: int = field(
        default=20, metadata={"help": "How often a job may reach its time limit and go on", "type": int}
    )
    no_arrays: bool = field(default=False, metadata={"help": "Submit each job by itself"})
    array_limit: int = field(
        default=256, metadata={"help": "At most this many jobs of one array run at once", "type": int}
    )
    queue_interval: int = field(
        default=30, metadata={"help": "Seconds between two questions to squeue", "type": int}
    )
    no_check: bool = field(
        default=False, metadata={"help": "Do not let Slurm judge the plan first; for when nodes are down"}
    )
    setup: str = field(
        default="", metadata={"help": "Shell line that Slurm jobs run first, such as module load"}
    )


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """Submits, watches, cancels, and finds jobs of a killed predecessor again."""

    def __post_init__(self) -> None:
        settings = self.workflow.executor_settings
        if settings.cluster not in QUEUES:
            raise WorkflowError(f"submitit-cluster: {settings.cluster!r} is none of {', '.join(QUEUES)}.")
        self.settings = replace(settings, folder=str(Path(settings.folder).resolve()))
        self.queue = QUEUES[settings.cluster]()
        interval = settings.queue_interval if settings.cluster == "slurm" else 0
        self.watcher = Watcher(self.queue, interval, self.logger.warning)
        self.owner = Owner(Path(self.settings.folder))
        self.owner.claim()
        self.records = Records(Path(self.settings.folder) / "running")
        self.array_size = 1
        # every job of this session that has not ended, also those between two looks of the watcher
        self.mine: dict[str, Record] = {}
        self.debug_jobs: dict[str, object] = {}
        self.prepared = False

    def get_job_args(self, job: JobExecutorInterface, **kwargs) -> str:
        """Return the inner Snakemake's arguments; its cores are the job's threads (the last one wins)."""
        return f"{super().get_job_args(job, **kwargs)} --cores {max(1, job.threads)}"

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit one job (already announced by Snakemake)."""
        self._attach_or_submit([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit all jobs that became ready together."""
        self._prepare()
        for job in jobs:
            self.run_job_pre(job)
        self._attach_or_submit(jobs)

    def _prepare(self) -> None:
        """Do once, in the main thread, what must wait until Snakemake has set its own signal handler."""
        if self.prepared:
            return
        self.prepared = True
        # Snakemake answers SIGTERM by waiting for all running jobs, for days here; cancel them instead
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if self.settings.cluster == "slurm":
            submission.forget_outer_allocation()
            self.array_size = submission.largest_array()
            if not self.settings.no_check:
                self._ask_before()

    def _ask_before(self) -> None:
        """Let Slurm judge each kind of job of the whole plan before the first is submitted."""
        kinds = {}
        for job in self.dag.needrun_jobs():
            if not job.is_local and submission.decided(job):
                wanted = submission.parameters(job)
                kinds.setdefault(repr(sorted(wanted.items(), key=str)), wanted)
        refused = [
            f"{submission.asked(wanted)}: {text}"
            for wanted in kinds.values()
            if (text := submission.refusal(self.settings, wanted))
        ]
        if refused:
            raise WorkflowError(
                "Slurm would refuse jobs of this plan; mend the profile. (Are nodes down, and the profile is right? "
                "--submitit-no-check submits all the same.)",
                *refused,
            )

    def _attach_or_submit(self, jobs: Sequence[JobExecutorInterface]) -> None:
        verdict = sort_out(jobs, self.records, self.settings.cluster)
        for job, record in verdict.follow:
            self.logger.info(f"Attached to job {record.job_id} ({record.name}), which was submitted before.")
            self._follow(job, record)
        for job, record in verdict.blocked:
            message = f"Job {record.job_id}, submitted with other settings, does not end; cancel it by hand."
            self._fail(SubmittedJobInfo(job, record.job_id), message, [])
        for batch in submission.batches(verdict.submit, not self.settings.no_arrays, self.array_size):
            self._submit(batch)

    def _submit(self, batch: Sequence[JobExecutorInterface]) -> None:
        """Submit jobs that ask for the same, as one array if there are several; a refusal fails them all."""
        calls = [self._call(job) for job in batch]
        try:
            with submission.interrupts_deferred():
                made = submission.submit(self.settings, submission.parameters(batch[0]), calls)
                for job, one in zip(batch, made):
                    self._remember(job, one)
        except Exception as error:  # whatever submitit or sbatch say, other batches must go on
            message = f"The submission was refused: {submission.sbatch_text(error)}"
            for job in batch:
                self._fail(SubmittedJobInfo(job), message, [])
            return
        for job in batch:
            self._follow(job, self.mine[key_of(job)])

    def _call(self, job: JobExecutorInterface) -> InnerRun:
        return InnerRun(
            command=self.format_job_exec(job),
            cluster=self.settings.cluster,
            marks=self._marks(job),
            signal_delay=30 if self.settings.cluster == "local" else self.settings.signal_delay,
            planned_code=planned_code(job),
            name=submission.title_of(job),
        )

    def _marks(self, job: JobExecutorInterface) -> list[str]:
        """Return the files by which Snakemake's file store marks incomplete outputs."""
        store = self.workflow.persistence
        if not hasattr(store, "_incomplete_path"):  # the database store has no such files
            return []
        files = [file for one in members(job) for file in one.output]
        return [
            str(Path(store._record_path(store._incomplete_path, store._get_key(f))).resolve()) for f in files
        ]

    def _remember(self, job: JobExecutorInterface, made: object) -> None:
        record = Record(
            key=key_of(job),
            name=submission.title_of(job),
            job_id=made.job_id,
            cluster=self.settings.cluster,
            folder=self.settings.folder,
            fingerprint=fingerprint_of(job),
        )
        self.mine[record.key] = record
        if self.settings.cluster == "debug":
            self.debug_jobs[record.key] = made
        else:
            self.records.write(record)

    def _follow(self, job: JobExecutorInterface, record: Record) -> None:
        self.mine[record.key] = record
        self.report_job_submission(SubmittedJobInfo(job, record.job_id, {"record": record}))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended and yield the others."""
        if hasattr(self, "records"):  # set last in __post_init__; the watcher's thread starts before
            self.owner.sign()
        if not active_jobs:
            return
        ended = self._ended([info.aux["record"] for info in active_jobs])
        for info in active_jobs:
            outcome = ended.get(info.aux["record"].key)
            if outcome is None:
                yield info
            else:
                self._report(info, outcome)

    def _ended(self, records: Sequence[Record]) -> dict[str, Outcome]:
        if self.settings.cluster != "debug":
            return self.watcher.ended(records)
        key = records[0].key  # one after the other, in this process
        error = self.debug_jobs[key].exception()
        return {key: Outcome(error is None, "" if error is None else str(error))}

    def _report(self, info: SubmittedJobInfo, outcome: Outcome) -> None:
        record = info.aux["record"]
        if record.key not in self.mine:
            return  # cancelled meanwhile
        self.records.remove(record.key)
        del self.mine[record.key]
        if outcome.success:
            self.report_job_success(info)
            return
        logs = [str(record.path("log.err")), str(record.path("log.out"))]
        why = " ".join(filter(None, (outcome.message, killed_for_memory(record.path("log.err")))))
        message = f"{record.name}: {why}\n{last_lines([*info.job.log, *logs])}\n"
        self._fail(info, message, [log for log in logs if Path(log).is_file()])

    def _fail(self, info: SubmittedJobInfo, message: str, logs: list[str]) -> None:
        self.report_job_error(info, msg=message, aux_logs=logs)

    def shutdown(self) -> None:
        """Stop watching, and let the next Snakemake in."""
        super().shutdown()
        self.owner.release()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel every job of this session that has not ended, and no other."""
        mine = list(self.mine.values())
        self.mine.clear()
        for made in self.debug_jobs.values():
            made.submission().function.stop()
        if not mine:
            return
        # A start right after this one must not meet a training that is still saving its state
        left = wait_until_gone(self.queue, mine, CANCEL_SECONDS) if self.queue.cancel(mine) else mine
        for record in mine:
            if record not in left:
                self.records.remove(record.key)
        if left:
            ids = " ".join(record.job_id for record in left)
            self.logger.error(f"These jobs have not ended; the next start looks for them again: {ids}")
