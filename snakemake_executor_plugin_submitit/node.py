"""What runs on the node: one command, its signals, and its next start.

Every job imports it, so it needs the standard library alone (and submitit, which has started it).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pickle
import resource
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_plugin_submitit.history import note

HOLD = 600.0  # seconds; Slurm's KillWait is 30 by default, sites raise it to a few minutes
UNANSWERED = 3  # warning signals in a row; then a job hangs or cannot save, and another start would not help
MARGIN = 10.0  # seconds of the signal delay that checkpoint() leaves for the requeue itself
BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


class JobFailed(RuntimeError):
    """The job cannot give a result; its log says why."""


@dataclass
class Files:
    """What a command without a Snakemake around it reads and writes; inputs may be ``latency`` seconds late."""

    latency: float
    inputs: list[str]
    outputs: list[str]
    logs: list[str]
    benchmark: list[str]

    def prepare(self) -> None:
        """Wait for the inputs, make the folders of the outputs, and remove what an earlier start left of them.

        Raises JobFailed for an input that is missing and a place that cannot be written.
        """
        end = time.monotonic() + self.latency
        while missing := [name for name in self.inputs if not Path(name).exists()]:
            if time.monotonic() > end:
                raise JobFailed(
                    f"its input {missing[0]} is not there after {self.latency:.0f} s (latency-wait)"
                )
            time.sleep(1)
        try:
            for path in map(Path, self.outputs + self.logs + self.benchmark):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.touch()  # shows now, and not after days, that it can be written
                path.unlink()
        except OSError as error:
            raise JobFailed(f"{error.filename} cannot be written: {error.strerror}") from None

    def check(self, seconds: float, cpu: float, memory: float) -> None:
        """Raise JobFailed if an output is missing; write what the job took into its benchmark file."""
        for name in self.outputs:
            if not Path(name).exists():
                raise JobFailed(f"its command ended without an error, but did not make {name}")
        row = [
            f"{seconds:.4f}",
            str(datetime.timedelta(seconds=round(seconds))),
            f"{memory:.2f}",
            *["NA"] * 5,
        ]
        row += [f"{100 * cpu / max(seconds, 0.1):.2f}", f"{cpu:.2f}"]
        for name in self.benchmark:
            Path(name).write_text(BENCHMARK + "\t".join(row) + "\n")


@dataclass
class NodeJob:
    """One job; submitit pickles it, calls it on the node, and asks it for a checkpoint at a warning signal (SIGUSR2).

    ``shell`` runs ``command``, the job's own where there are ``files`` and an inner Snakemake otherwise. ``record`` is the
    job's record, ``signal_delay`` the seconds between the warning and the end of the allocation, ``environment`` what the
    command gets beside the node's (None: without that variable), and ``marks`` the files by which Snakemake knows an
    incomplete output.
    """

    name: str
    shell: str
    command: str
    cluster: str
    record: str
    signal_delay: float
    environment: dict[str, str | None] = field(default_factory=dict)
    files: Files | None = None
    marks: list[str] = field(default_factory=list)
    folder: str = field(default_factory=os.getcwd)
    submitted: float = field(default_factory=time.time)
    finished: bool = False
    unanswered: int = 0
    terminated: bool = False
    process: subprocess.Popen | None = None
    line: dict = field(default_factory=dict)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "process": None, "line": {}, "terminated": False}

    def __call__(self) -> None:
        """Run the command once; raises JobFailed if it ends with an error."""
        if self.finished or self._succeeded_before():
            self._mark()  # requeued after its work was done: the outputs must not be made again
            return
        if self.cluster == "slurm":  # an error of a start that Slurm took back is not this job's last word
            _result_file().unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_term)
        self._begin()
        try:
            self._run()
        except KeyboardInterrupt:  # submitit's way to cancel a job of its local cluster
            self.stop()
            self._end("cancelled")
            raise
        except JobFailed as error:
            self._end("SIGTERM" if self.terminated else str(error))
            self._hold()
            raise
        self._mark()

    def _begin(self) -> None:
        """Record this start, and since when it had waited: a requeued job waits again."""
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0)) if self.cluster == "slurm" else 0
        if restarts:
            self.submitted = max(self.submitted, submitted_again(os.environ["SLURM_JOB_ID"]) or 0.0)
        began = time.time()
        self.line = {"name": self.name, "host": socket.gethostname(), "restarts": restarts, "began": began}
        self.line["queue_seconds"] = round(max(0.0, began - self.submitted), 1)
        self._note()

    def _run(self) -> None:
        os.chdir(self.folder)
        if self.files:
            self.files.prepare()
        # The warning signal reaches every process of the job step. Only the training handles it; whatever is between
        # must ignore it, and children inherit that. After SIGTERM the shell waits for its child, which may be saving.
        command = [self.shell, "-c", f"trap '' USR2; trap : TERM; {self.command}"]
        known = {**os.environ, "SUBMITIT_SUBMIT_TIME": f"{self.submitted:.3f}", **self.environment}
        environment = {name: value for name, value in known.items() if value is not None}
        # Slurm finds every process of a step by itself; elsewhere a session is the handle
        self.process = subprocess.Popen(command, env=environment, start_new_session=self.cluster != "slurm")
        if (status := self.process.wait()) != 0:
            raise JobFailed(f"its command ended with exit status {status}")
        work = self._end("done")
        if self.files:
            self.files.check(*work.values())

    def _end(self, exit_reason: str) -> dict[str, float]:
        """Note how it ended; return seconds of work and, once its process was waited for, CPU seconds and peak memory."""
        work: dict[str, float] = {"compute_seconds": round(time.time() - self.line["began"], 1)}
        if self.process is not None and self.process.returncode is not None:
            below = resource.getrusage(resource.RUSAGE_CHILDREN)
            work["cpu_seconds"] = round(below.ru_utime + below.ru_stime, 1)
            work["peak_memory_mib"] = round(below.ru_maxrss / 2**10)
        self._note(**work, exit=exit_reason)
        return work

    def _note(self, **more: object) -> None:
        if self.cluster != "debug":  # its output is the terminal
            note(**self.line, **more)

    def _on_term(self, number: int, frame: object) -> None:
        self.terminated = True
        if self.cluster == "local":  # nobody kills or requeues here: a SIGTERM means stop
            raise KeyboardInterrupt

    def _hold(self) -> None:
        """After SIGTERM wait for Slurm to end the job, so that no result says "failed" of one that is requeued.

        It may be the beginning of a grace time. A job that was cancelled, which its record says, fails at once.
        """
        end = time.monotonic() + HOLD
        batch = os.environ.get("SUBMITIT_BATCH_PID", "self")
        while self.terminated and time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(Path(self.record).read_text())["cancelled"]:
                    return
            if not Path("/proc", batch).exists():  # a process that is left over would hinder the next start
                os._exit(1)
            time.sleep(0.5)

    def _mark(self) -> None:
        """Set the incomplete marks again, which an inner Snakemake removes at its end.

        The outer one records the metadata of the outputs. If it was killed meanwhile, its successor must
        look at this job again, and Snakemake does so for outputs that are marked.
        """
        for path in map(Path, self.marks):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"external_jobid": None}))

    def _succeeded_before(self) -> bool:
        """Tell whether an earlier start of this very job has left a success."""
        try:
            return self.cluster != "debug" and pickle.loads(_result_file().read_bytes())[0] == "success"
        except (OSError, pickle.UnpicklingError, EOFError):
            return False

    def checkpoint(self):
        """After SIGUSR2: wait until the command has saved and ended, then ask submitit for a second start.

        Raises JobFailed at the third warning in a row that the command did not answer.
        """
        from submitit.core.utils import DelayedSubmission

        if self.process is not None:
            if self.cluster == "local":  # there the signal comes to this process alone
                self._signal_session(signal.SIGUSR2)
            end = time.monotonic() + max(self.signal_delay - MARGIN, 1.0)
            while (status := _exit_status(self.process)) is None and time.monotonic() < end:
                time.sleep(0.1)
            if status is None and self.cluster == "local":
                self.stop()
            self.finished = status == 0
            self._end(f"warning signal, {'no answer' if status is None else 'saved'}")
            self.unanswered = self.unanswered + 1 if status is None else 0
        if self.unanswered >= UNANSWERED:
            raise JobFailed(
                f"{self.unanswered} warning signals in a row were not answered: it hangs, or it needs more time than "
                "its limit and cannot save; raise runtime"
            )
        self.submitted = time.time()
        return DelayedSubmission(self)

    def stop(self) -> None:
        """End the command and all its children (clusters local and debug): TERM, half a second, KILL."""
        if self.process is None or self.cluster == "slurm":
            return
        if threading.current_thread() is threading.main_thread() and self.cluster == "local":
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes
        self._signal_session(signal.SIGTERM)
        end = time.monotonic() + 0.5
        while self._signal_session(0) and time.monotonic() < end:
            self.process.poll()  # reaps the leader, which else counts as alive
            time.sleep(0.02)
        self._signal_session(signal.SIGKILL)

    def _signal_session(self, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process is not None:
                os.killpg(self.process.pid, number)
                return True
        return False


def _exit_status(process: subprocess.Popen) -> int | None:
    """Return the exit status without reaping the process, None while it runs."""
    # Not Popen.wait or poll: the signal handler may have interrupted one that holds the lock
    if process.returncode is not None:
        return process.returncode
    try:
        info = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # reaped a moment ago; the interrupted frame has its status
        return 1
    return info and (info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status)


def submitted_again(job: str) -> float | None:
    """Return when Slurm put a requeued job back into the queue, None if it does not say."""
    try:
        command = ["scontrol", "show", "job", "-o", job]
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        found = next(word for word in text.split() if word.startswith("SubmitTime="))
        return datetime.datetime.fromisoformat(found.partition("=")[2]).timestamp()
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError):
        return None


def _result_file() -> Path:
    from submitit.core.job_environment import JobEnvironment

    return JobEnvironment().paths.result_pickle
