"""Snakemake executor that submits through submitit: clusters slurm, local and debug (see README.md)."""

# No `from __future__ import annotations` here: Snakemake reads the types of the settings as classes.

import contextlib
import os
import shlex
import signal
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit import plan, slurm
from snakemake_executor_plugin_submitit.node import Files, NodeJob
from snakemake_executor_plugin_submitit.records import Owner, Record, RecordFolder, why_unwritable
from snakemake_executor_plugin_submitit.watcher import Watcher, killed_for_memory, last_lines

CANCEL_SECONDS = 60.0  # Slurm's KillWait is 30 s by default
FUTURE = 60.0  # seconds by which the clocks of hosts may differ
DEVICES = "CUDA_VISIBLE_DEVICES"
# By which libraries learn how many threads they may use; Snakemake sets the same
THREADS = ["OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
THREADS += ["VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"]


def _setting(default, text: str):
    kind = {} if isinstance(default, (bool, str)) else {"type": type(default)}
    return field(default=default, metadata={"help": text, **kind})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Command-line options and profile keys; each gets the prefix ``submitit-``."""

    cluster: str = _setting("slurm", "slurm, local (processes here) or debug (one after the other)")
    folder: str = _setting(".snakemake/submitit", "Shared folder of job scripts, results and logs")
    signal_delay: int = _setting(120, "Seconds between the warning signal and the time limit")
    max_num_timeout: int = _setting(20, "How often a job may reach its time limit and resume")
    no_arrays: bool = _setting(False, "Submit each job by itself")
    array_limit: int = _setting(256, "At most this many jobs of one array run at once")
    queue_interval: int = _setting(30, "Seconds between two calls of squeue")
    no_check: bool = _setting(False, "Skip the sbatch --test-only check; for when nodes are down")
    setup: str = _setting("", "Shell line that Slurm jobs run first, such as module load")


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """Submits jobs, watches them, cancels them, and finds those of a killed Snakemake again."""

    def __post_init__(self) -> None:
        settings = self.workflow.executor_settings
        if settings.cluster not in ("slurm", "local", "debug"):
            raise WorkflowError(f"submitit-cluster: {settings.cluster!r} is none of slurm, local, debug.")
        self.folder = Path(settings.folder).resolve()
        if settings.cluster == "slurm" and "%" in str(self.folder):
            raise WorkflowError(
                f"submitit-folder: Slurm reads the % of {self.folder} as a pattern in the names of logs; choose a folder "
                "without it (--submitit-folder)."
            )
        self.settings = replace(settings, folder=str(self.folder))
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
        if why := why_unwritable(self.folder):
            raise WorkflowError(why)
        self.records = RecordFolder(self.folder / "running")
        interval = settings.queue_interval if settings.cluster == "slurm" else 0
        self.watcher = Watcher(settings.cluster, self.records, interval, self.logger.warning)
        # every job of this session that has not ended, also those between two looks of the watcher
        self.mine: dict[str, Record] = {}
        self.debug_jobs: dict[str, Any] = {}
        self.array_size = 0  # unknown until the first submission
        self.why = ""  # results cannot be recorded
        owner = Owner(self.folder)
        if other := owner.other():
            raise WorkflowError(
                f"Another Snakemake submits from {self.folder}: {other}. Wait for it or stop it."
            )
        owner.sign()
        self.owner = owner

    def get_job_args(self, job: JobExecutorInterface, **kwargs) -> str:
        """Return the inner Snakemake's arguments; its cores are the job's threads (the last one wins)."""
        return f"{super().get_job_args(job, **kwargs)} --cores {max(1, job.threads)}"

    # Snakemake quotes for Python, not for a shell: paths and values with $, ` or both kinds of quotes would be changed
    def get_snakefile(self) -> str:
        """Return the path of the Snakefile, quoted."""
        return shlex.quote(str(super().get_snakefile()))

    def get_python_executable(self) -> str:
        """Return the interpreter of the inner Snakemake, quoted."""
        return shlex.quote(super().get_python_executable())

    def get_envvar_declarations(self) -> str:
        """Return the command that sets the variables of ``envvars:``, "" if there are none."""
        values = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.envvars().items())
        return f"export {values} &&" if values else ""

    @property
    def tmpdir(self) -> str:
        """The folder of temporary files that a job waits for, relative to the workflow's."""
        return os.path.relpath(super().tmpdir)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit one job."""
        self.run_jobs([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit all jobs that became ready together."""
        if not self.array_size:
            self._prepare()
        os.utime(self.folder)
        now = self.folder.stat().st_mtime  # by the clock of the file system
        fresh = []
        for job in jobs:
            self.run_job_pre(job)
            if late := plan.input_from_the_future(job, now + FUTURE):
                self._fail(job, "", f"Its input {late} has a modification time in the future; `touch` it.")
            else:
                fresh.append(job)
        for batch in plan.batches(self._take_up(fresh), self.array_size):
            self._submit(batch)

    def _prepare(self) -> None:
        """Do once, in the main thread, what must wait until Snakemake has set its own signal handler."""
        # Snakemake answers SIGTERM by waiting for all running jobs, for days here; cancel them instead
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.array_size = 1
        if self.settings.cluster == "slurm":
            # inside an interactive allocation these would change every submission
            for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
                if name != "SLURM_CONF":
                    del os.environ[name]
            largest = slurm.patiently(slurm.largest_array, self.logger.warning)
            self.array_size = 1 if self.settings.no_arrays else largest
            self.watcher.cancel_strays(slurm.states("slurm", []), at_once=True)
            if not self.settings.no_check:
                self._check_plan()

    def _check_plan(self) -> None:
        """Let Slurm judge each kind of job of the whole plan before the first is submitted."""
        jobs = [job for job in self.dag.needrun_jobs() if not job.is_local and plan.decided(job)]
        kinds = {repr(sorted(wanted.items())): wanted for wanted in map(plan.parameters, jobs)}
        refused = []
        for wanted in kinds.values():
            try:
                slurm.patiently(lambda asked=wanted: slurm.check(self.settings, asked), self.logger.warning)
            except slurm.Refused as refusal:
                wanted.pop("slurm_srun_args")
                asked = ", ".join(f"{name}={value}" for name, value in wanted.items())
                refused.append(f"{asked}: {refusal}")
        if refused:
            raise WorkflowError(
                "Slurm would refuse jobs of this plan. Change their resources in the profile; if it is right and nodes are "
                "down, --submitit-no-check submits all the same.",
                *refused,
            )

    def _take_up(self, jobs: Sequence[JobExecutorInterface]) -> list[JobExecutorInterface]:
        """Follow jobs that an earlier Snakemake submitted from the same plan; return those that are to be submitted.

        Jobs of another plan that still live are cancelled and waited for.
        """
        old = {job: record for job in jobs if (record := self.records.read(plan.key_of(job)))}
        alive = slurm.alive([record for record in old.values() if record.result() != ""])
        followed = [job for job, record in old.items() if self._goes_on(job, record, record in alive)]
        left = slurm.end([old[job] for job in old if job not in followed and old[job] in alive])
        for job, record in old.items():
            if job in followed:
                self.logger.info(
                    f"Attached to job {record.job_id} ({record.name}), which was submitted before."
                )
                self._follow(job, record)
            elif record in left:
                message = f"Job {record.job_id} of another plan is still running; cancel it manually."
                self._fail(job, record.job_id, message)
            else:
                self.records.remove(record.key)
        return [job for job in jobs if job not in followed and old.get(job) not in left]

    def _goes_on(self, job: JobExecutorInterface, record: Record, alive: bool) -> bool:
        if record.fingerprint != plan.fingerprint_of(job) or record.cluster != self.settings.cluster:
            return False
        if record.result() == "":
            return all(Path(path).exists() for path in plan.outputs(job))
        return alive and not record.cancelled  # also after an error: Slurm may have requeued it

    def _submit(self, batch: Sequence[JobExecutorInterface]) -> None:
        """Submit jobs that ask for the same, as one array if there are several; a refusal fails them all."""
        wanted = plan.parameters(batch[0])
        attempts: list[int] = []

        def attempt() -> list[Record]:
            if attempts:  # sbatch may have failed after Slurm had accepted the job
                self.watcher.cancel_strays(slurm.states(self.settings.cluster, []), at_once=True)
            attempts.append(1)
            made = slurm.submit(self.settings, wanted, [self._node_job(job) for job in batch])
            return [self._remember(job, one) for job, one in zip(batch, made)]

        try:
            records = slurm.patiently(attempt, self.logger.warning)
        except slurm.Refused as refusal:
            for job in batch:
                self._fail(job, "", f"The submission was refused: {refusal}")
            return
        for job, record in zip(batch, records):
            self._follow(job, record)

    def _node_job(self, job: JobExecutorInterface) -> NodeJob:
        own, cluster = plan.own_command(job, self.workflow), self.settings.cluster
        made = NodeJob(
            name=plan.title_of(job),
            shell="/bin/sh",
            command="",
            cluster=cluster,
            record=str(self.records.path(plan.key_of(job))),
            signal_delay=30 if cluster == "local" else self.settings.signal_delay,
        )
        if own:
            made.shell, made.command = "/bin/bash", f"{self.get_envvar_declarations()} {own}"
            made.environment |= dict.fromkeys(THREADS, str(max(1, job.threads)))
            files = [
                [*map(str, some)] for some in (job.input, job.output, job.log, filter(None, [job.benchmark]))
            ]
            made.files = Files(self.workflow.execution_settings.latency_wait, *files)
        else:
            made.command, made.marks = self.format_job_exec(job), self._marks(job)
        if cluster == "local" and job.resources.get("gpus"):
            # submitit gives each job the first GPUs; the job's command chooses among those that are visible here
            made.environment[DEVICES] = os.environ.get(DEVICES)
        return made

    def _marks(self, job: JobExecutorInterface) -> list[str]:
        """Return the files by which Snakemake's file store marks incomplete outputs; its database has none."""
        store = self.workflow.persistence
        if not hasattr(store, "_incomplete_path"):
            return []
        keys = [store._get_key(file) for one in plan.members(job) for file in one.output]
        return [str(Path(store._record_path(store._incomplete_path, key)).resolve()) for key in keys]

    def _remember(self, job: JobExecutorInterface, made) -> Record:
        known = (
            plan.key_of(job),
            plan.title_of(job),
            made.job_id,
            self.settings.cluster,
            self.settings.folder,
        )
        record = Record(*known, fingerprint=plan.fingerprint_of(job))
        self.mine[record.key] = record
        if self.settings.cluster == "debug":
            self.debug_jobs[record.key] = made
        else:
            self.records.write(record)
        return record

    def _follow(self, job: JobExecutorInterface, record: Record) -> None:
        self.mine[record.key] = record
        self.report_job_submission(SubmittedJobInfo(job, record.job_id, {"record": record}))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended and yield the others."""
        if hasattr(self, "owner"):  # set last in __post_init__; the watcher's thread starts before
            self.owner.sign()
        ended = self._ended([info.aux["record"] for info in active_jobs]) if active_jobs else {}
        for info in active_jobs:
            message = ended.get(info.aux["record"].key)
            if message is None:
                yield info
            else:
                self._report(info, message)

    def _ended(self, records: Sequence[Record]) -> dict[str, str]:
        if self.settings.cluster == "debug":  # one after the other, in this process
            error = self.debug_jobs[records[0].key].exception()
            return {records[0].key: "" if error is None else str(error)}
        ended = self.watcher.ended(records)
        # Snakemake would give up where it cannot record a result; results stay where they are until it can
        why, self.why = self.why, why_unwritable(Path(self.workflow.persistence.path)) if ended else ""
        if self.why and not why:
            self.logger.warning(f"{self.why} Jobs have ended and wait until Snakemake can record them.")
        return {} if self.why else ended

    def _report(self, info: SubmittedJobInfo, message: str) -> None:
        record = info.aux["record"]
        if self.mine.pop(record.key, None) is None:
            return  # cancelled meanwhile
        self.records.remove(record.key)
        if not message:
            self.report_job_success(info)
            return
        logs = [str(record.path("log.err")), str(record.path("log.out"))]
        why = f"{record.name}: {message} {killed_for_memory(record.path('log.err'))}".rstrip()
        text = f"{why}\n{last_lines([*info.job.log, *logs])}"
        self._fail(info.job, record.job_id, text, [log for log in logs if Path(log).is_file()])

    def _fail(self, job: JobExecutorInterface, job_id: str, message: str, logs: Sequence[str] = ()) -> None:
        # Snakemake adds a sentence of its own to the message, on the same line
        self.report_job_error(SubmittedJobInfo(job, job_id), msg=f"{message.rstrip()}\n", aux_logs=list(logs))

    def shutdown(self) -> None:
        """Stop watching, leave no unneeded job in the queue, and let the next Snakemake in."""
        super().shutdown()
        if self.array_size:
            self.watcher.finish()
        self.owner.release()

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel every job of this session that has not ended, and no other."""
        mine = list(self.mine.values())
        self.mine.clear()
        for made in self.debug_jobs.values():
            made.submission().function.stop()
        for record in mine:
            self.records.write(replace(record, cancelled=True))
        # A start right after this one must not meet a training that is still saving its state
        left = slurm.end(mine, CANCEL_SECONDS)
        # the interrupt may have come between sbatch and the record of a job
        self.watcher.cancel_strays(slurm.states(self.settings.cluster, []), at_once=True)
        for record in set(mine) - set(left):
            self.records.remove(record.key)
        if left:
            ids = " ".join(record.job_id for record in left)
            self.logger.error(f"These jobs have not ended; the next start looks for them again: {ids}")
