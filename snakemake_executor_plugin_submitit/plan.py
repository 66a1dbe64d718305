"""What Snakemake says of a job: its names and outputs, the resources it asks for, and the command that makes it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import SharedFSUsage

DEFAULT_MINUTES = 60  # where no `runtime` is given at all
# Flags of files that ask nothing of the node: Snakemake looks after them when the job has ended
PLAIN = {"ancient", "ensure", "multiext", "report", "temp"}
LONGEST = 2**16  # characters of a command line


def members(job: JobExecutorInterface) -> list:
    """Return the single jobs of a group, or the job itself."""
    return sorted(job.jobs, key=lambda one: one.rule.name) if job.is_group() else [job]


def title_of(job: JobExecutorInterface) -> str:
    """Return a job's title for readers: the rule with its wildcards, or the group."""
    if job.is_group():
        return f"group {job.groupid}"
    return " ".join([job.rule.name, *(f"{name}={value}" for name, value in job.wildcards_dict.items())])


def outputs(job: JobExecutorInterface) -> list[str]:
    """Return the output files of a job or group, sorted."""
    return sorted(str(file) for one in members(job) for file in one.output)


def key_of(job: JobExecutorInterface) -> str:
    """Return the name of the job's record: what it makes, or what it is where it makes nothing."""
    return _digest(outputs(job) or [f"{one.rule.name} {one.wildcards_dict}" for one in members(job)])


def fingerprint_of(job: JobExecutorInterface) -> str:
    """Return a digest of what the result depends on: rule, command, parameters, and inputs with their times.

    A job that was submitted from another fingerprint must not be attached to: its result would be
    recorded under the new parameters.
    """
    parts = []
    for one in members(job):
        times = sorted((str(file), 0 if "ancient" in file.flags else _changed(file)) for file in one.input)
        parts.append([one.rule.name, one.shellcmd, times, [repr(value) for value in one.params]])
    return _digest(parts)


def input_from_the_future(job: JobExecutorInterface, now: float) -> str:
    """Return an input that was changed after ``now``, with its time in seconds; "" if there is none.

    Snakemake deletes outputs that are older than an input, when the job has ended.
    """
    files = [file for one in members(job) for file in one.input]
    return next((str(file) for file in files if _changed(file) > now * 1e9), "")


def _changed(name: str) -> int:
    # A folder's own time changes with any file in it; Snakemake keeps a stamp file there
    path = Path(name, ".snakemake_timestamp") if Path(name).is_dir() else Path(name)
    return path.stat().st_mtime_ns if path.exists() else 0


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def parameters(job: JobExecutorInterface) -> dict[str, object]:
    """Translate a job's resources for submitit; raises WorkflowError for a value that cannot be translated."""
    given = job.resources.get
    wanted: dict[str, object] = {
        "name": job.groupid if job.is_group() else job.rule.name,
        "timeout_min": _integer(job, "runtime", DEFAULT_MINUTES),
        "cpus_per_task": max(1, job.threads),
        "gpus_per_node": _integer(job, "gpus", 0) or None,
        "mem_gb": _integer(job, "mem_mb", 0) / 1024 or None,
        "slurm_partition": given("slurm_partition"),
        "slurm_account": given("slurm_account"),
        "slurm_qos": given("qos"),
        "slurm_constraint": given("constraint"),
        # newer Slurm does not hand --cpus-per-task of sbatch to srun
        "slurm_srun_args": [f"--cpus-per-task={max(1, job.threads)}"],
        "slurm_additional_parameters": extra_options(str(given("slurm_extra") or "")) or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def decided(job: JobExecutorInterface) -> bool:
    """Tell whether the job's resources are known; some depend on the sizes of inputs yet to be made."""
    return not any(str(job.resources.get(name)) == "<TBD>" for name in ("runtime", "mem_mb", "gpus"))


def _integer(job: JobExecutorInterface, name: str, default: int) -> int:
    value = job.resources.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise WorkflowError(f"{title_of(job)}: resource {name}={value} is not a whole number.") from None


def extra_options(text: str) -> dict[str, str | bool]:
    """Parse sbatch options, ``--exclusive --reservation=night``; raises WorkflowError for anything else."""
    options: dict[str, str | bool] = {}
    for word in shlex.split(text):
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise WorkflowError(f"slurm_extra: {word!r} is neither --option nor --option=value.")
        options[name] = value if equals else True
    return options


def batches(jobs: Iterable[JobExecutorInterface], size: int) -> list[list]:
    """Group jobs of one kind that ask for the same, at most ``size`` in one batch."""
    kinds: dict[str, list] = {}
    for job in jobs:
        kinds.setdefault(json.dumps(parameters(job), sort_keys=True), []).append(job)
    return [group[i : i + size] for group in kinds.values() for i in range(0, len(group), size)]


def own_command(job: JobExecutorInterface, workflow) -> str:
    """Return the job's shell command if it can run without a Snakemake around it on the node; "" if it cannot.

    It is complete: prefix, parameters and paths are those of the plan, whatever the files say when it runs.
    """
    from snakemake.shell import shell

    if job.is_group() or not job.is_shell or Path(shell.get_executable() or "").name != "bash":
        return ""
    needs_snakemake = (
        job.is_shadow
        or (job.benchmark_repeats or 1) > 1
        or workflow.output_settings.benchmark_extended
        or workflow.workflow_settings.cache is not None
        or workflow.deployment_settings.deployment_method
        or workflow.remote_execution_settings.precommand
        or workflow.storage_settings.shared_fs_usage != SharedFSUsage.all()
        or job.rule.resources.get("tmpdir").raw not in ("", None, "system_tmpdir")
        or job.resources.get("shell_exec")
        or any(set(file.flags) - PLAIN for file in [*job.input, *job.output, *job.log])
    )
    text = f"{shell._get_process_prefix(shell.get_executable())} {job.shellcmd} {shell._process_suffix}"
    return "" if needs_snakemake or "<TBD>" in text or len(text) > LONGEST else text.strip()
