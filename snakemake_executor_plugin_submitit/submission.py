"""From Snakemake's resources to submitit's parameters, and from ready jobs to arrays."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

DEFAULT_MINUTES = 60  # where no `runtime` is given at all
# What Slurm says of a request that no node can meet, and also while the only nodes that can are restarting
UNAVAILABLE, ASKED, PAUSE = "configuration is not available", 3, 5.0


def kind_of(job: JobExecutorInterface) -> str:
    """Return what the queue shows as the job's name: its rule, or its group."""
    return job.groupid if job.is_group() else job.rule.name


def title_of(job: JobExecutorInterface) -> str:
    """Return what people should read: the rule with its wildcards, or the group."""
    if job.is_group():
        return f"group {job.groupid}"
    return " ".join([job.rule.name, *(f"{name}={value}" for name, value in job.wildcards_dict.items())])


def parameters(job: JobExecutorInterface) -> dict[str, object]:
    """Translate a job's resources for submitit; raises WorkflowError for a value that cannot be."""
    resources = job.resources
    wanted: dict[str, object] = {
        "name": kind_of(job),
        "timeout_min": _integer(job, "runtime", DEFAULT_MINUTES),
        "cpus_per_task": max(1, job.threads),
        "gpus_per_node": _integer(job, "gpus", 0) or None,
        "slurm_partition": resources.get("slurm_partition"),
        "slurm_account": resources.get("slurm_account"),
        "slurm_qos": resources.get("qos"),
        "slurm_constraint": resources.get("constraint"),
        # newer Slurm does not hand --cpus-per-task of sbatch to srun
        "slurm_srun_args": [f"--cpus-per-task={max(1, job.threads)}"],
    }
    if memory := _integer(job, "mem_mb", 0):
        wanted["mem_gb"] = memory / 1024
    if extra := resources.get("slurm_extra"):
        wanted["slurm_additional_parameters"] = extra_options(str(extra))
    return {name: value for name, value in wanted.items() if value is not None}


def decided(job: JobExecutorInterface) -> bool:
    """Tell whether the job's resources are known; some depend on the sizes of inputs yet to be made."""
    return not any(str(job.resources.get(name)) == "<TBD>" for name in ("runtime", "mem_mb", "gpus"))


def _integer(job: JobExecutorInterface, name: str, default: int) -> int:
    value = job.resources.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise WorkflowError(
            f"Resource {name}={value} of {kind_of(job)} is not a whole number; mend it in the profile."
        ) from None


def extra_options(text: str) -> dict[str, str | bool]:
    """Parse sbatch options, ``--exclusive --reservation=night``; raises WorkflowError for anything else."""
    options: dict[str, str | bool] = {}
    for word in shlex.split(text):
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise WorkflowError(
                f"slurm_extra: {word!r} is neither --option nor --option=value; mend it in the profile."
            )
        options[name] = value if equals else True
    return options


def batches(jobs: Iterable[JobExecutorInterface], arrays: bool, limit: int) -> list[list]:
    """Group jobs that ask for the same and are of one kind; at most ``limit`` in one batch."""
    kinds: dict[str, list] = {}
    for job in jobs:
        kinds.setdefault(json.dumps(parameters(job), sort_keys=True), []).append(job)
    size = limit if arrays else 1
    return [group[i : i + size] for group in kinds.values() for i in range(0, len(group), size)]


def largest_array() -> int:
    """Return the site's MaxArraySize (Slurm's default, 1001, where scontrol does not say)."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired, ValueError):
        text = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=60
        ).stdout
        for line in text.splitlines():
            if line.startswith("MaxArraySize"):
                return int(line.split("=")[1])
    return 1001


def executor(settings, wanted: dict[str, object]):
    """Return a submitit executor for these parameters; cluster, folder and set-up come from the settings."""
    from submitit import AutoExecutor

    options = {}
    if settings.cluster != "debug":
        options[f"{settings.cluster}_max_num_timeout"] = settings.max_num_timeout
    made = AutoExecutor(folder=settings.folder, cluster=settings.cluster, **options)
    made.update_parameters(
        **wanted,
        slurm_signal_delay_s=settings.signal_delay,
        slurm_array_parallelism=settings.array_limit,
        slurm_setup=[settings.setup] if settings.setup else None,
    )
    return made


def submit(settings, wanted: dict[str, object], calls: Sequence) -> list:
    """Submit callables as one array (or one job) and return submitit's jobs, in order.

    Raises submitit's FailedJobError with sbatch's text where Slurm refuses.
    """
    made = executor(settings, wanted)
    if len(calls) == 1:
        return [made.submit(calls[0])]
    return made.submit_array(list(calls))


def refusal(settings, wanted: dict[str, object]) -> str:
    """Ask Slurm whether it would accept such a job; return its text if not, without submitting anything.

    Asks again, seconds later, where nodes may only be restarting.
    """
    for left in reversed(range(ASKED)):
        text = _judged(settings, wanted)
        if not left or UNAVAILABLE not in text:
            break
        time.sleep(PAUSE)
    return text


def _judged(settings, wanted: dict[str, object]) -> str:
    made = executor(settings, wanted)
    script = made._executor._make_submission_file_text("true", "test")
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            ["sbatch", "--test-only", file.name], capture_output=True, text=True, timeout=60
        )
    return "" if done.returncode == 0 else " ".join(done.stderr.split())


def asked(wanted: dict[str, object]) -> str:
    """Return one line that says what a kind of job asks for."""
    hidden = {"name", "slurm_srun_args"}
    return f"{wanted['name']} ({', '.join(f'{k}={v}' for k, v in wanted.items() if k not in hidden)})"


def sbatch_text(error: BaseException) -> str:
    """Return the lines of a failed submission that sbatch wrote."""
    lines = str(error).splitlines()
    said = [line.strip() for line in lines if line.strip().startswith("sbatch: ")]
    return " ".join(said) or " ".join(line.strip() for line in lines[-3:])


def forget_outer_allocation() -> None:
    """Drop SLURM_* variables: inside an interactive allocation they would change every submission."""
    for name in [
        name for name in os.environ if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"
    ]:
        del os.environ[name]


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while a job is between sbatch and its record."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, frame: came.append(got)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt
