"""What runs on the node: one inner Snakemake, its signals, and its second start.

Every job imports it, so it needs the standard library alone (and submitit where a signal came).
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import FrameType

from snakemake_executor_plugin_submitit.history import ENDING, Start, submitted_again

HOLD = 600.0  # seconds; Slurm's KillWait is 30 by default, sites raise it to a few minutes
UNANSWERED = 3  # warning signals in a row; then a job hangs or cannot save, and another start would not help
MARGIN = 10.0  # seconds of the signal delay that checkpoint() leaves for the requeue itself


class InnerFailed(RuntimeError):
    """The inner Snakemake ended with an error; its log says why."""


class InnerRun:
    """Run one Snakemake command on the node; submitit pickles it, calls it, and checkpoints it.

    ``command`` is a shell command, ``cluster`` one of slurm, local, debug, ``marks`` the files by which
    Snakemake knows an incomplete output, and ``signal_delay`` the seconds between the warning signal
    (SIGUSR2) and the end of the allocation. ``planned_code`` is what the plan says of ``params: code``,
    for the command to compare with what it finds on the node; ``name`` is what people read.
    """

    def __init__(
        self,
        command: str,
        cluster: str,
        marks: list[str],
        signal_delay: float,
        planned_code: str = "",
        name: str = "",
    ) -> None:
        self.command, self.cluster, self.marks = command, cluster, marks
        self.signal_delay, self.planned_code, self.name = signal_delay, planned_code, name
        self.folder = str(Path.cwd())
        self.submitted = time.time()
        self.finished = False
        self.unanswered = 0
        self.terminated = False
        self.process: subprocess.Popen | None = None
        self.start: Start | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "process": None, "start": None, "terminated": False}

    def __call__(self) -> None:
        """Run the command once; raises InnerFailed where it ends with an error."""
        if self.finished or (self.cluster != "debug" and _succeeded_before()):
            self._mark()  # requeued after its work was done: the outputs must not be made again
            return
        if self.cluster == "slurm":  # an error of a start that Slurm took back is not this job's last word
            _job_file("result.pkl").unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_term)
        self.start = self._begin()
        self.process = self._start()
        try:
            status = self.process.wait()
        except KeyboardInterrupt:  # submitit's way to cancel a job of its local cluster
            self.stop()
            self.start.end("cancelled")
            raise
        if status != 0:
            self.start.end("SIGTERM" if self.terminated else f"exit status {status}")
            self._hold()
            raise InnerFailed(f"the inner Snakemake ended with exit status {status}")
        self.start.end("done")
        self._mark()

    def _begin(self) -> Start:
        """Record this start, and since when it had waited: a requeued job waits anew."""
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
        file, job = None, "debug"
        if self.cluster != "debug":
            file = _job_file(ENDING)
            job = file.name.removesuffix(f"_0_{ENDING}")
        if restarts and self.cluster == "slurm":
            self.submitted = max(self.submitted, submitted_again(os.environ["SLURM_JOB_ID"]) or 0.0)
        start = Start(file, self.name, job, restarts, self.submitted)
        start.begin()
        return start

    def _start(self) -> subprocess.Popen:
        # The warning signal reaches every process of the job step. Only the training handles it; the shell
        # and Snakemake, which stand between, must ignore it, and children inherit that.
        return subprocess.Popen(
            f"trap '' USR2; {self.command}",
            shell=True,
            cwd=self.folder,
            env={
                **os.environ,
                "SUBMITIT_SUBMIT_TIME": f"{self.submitted:.3f}",
                "SUBMITIT_PLANNED_CODE": self.planned_code,
            },
            # Slurm finds every process of a step by itself; elsewhere a session is the handle
            start_new_session=self.cluster != "slurm",
        )

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        if self.cluster == "local":  # nobody kills or requeues here: a SIGTERM means stop
            raise KeyboardInterrupt

    def _hold(self) -> None:
        """After SIGTERM wait to be killed, so that no result says "failed" of a job that Slurm requeues.

        A job that the outer Snakemake cancelled has a note saying so and ends at once.
        """
        end = time.monotonic() + HOLD
        while self.terminated and time.monotonic() < end and not _job_file("cancelled").exists():
            time.sleep(0.5)

    def _mark(self) -> None:
        """Set the incomplete marks again, which the inner Snakemake removed at its end.

        The outer one records the metadata of the outputs. If it was killed meanwhile, its successor must
        look at this job again, and Snakemake does so for outputs that are marked.
        """
        for path in map(Path, self.marks):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"external_jobid": None}))

    def checkpoint(self):
        """After SIGUSR2: wait until the training has saved and ended, then ask for a second start.

        Raises InnerFailed at the third warning in a row that the command did not answer.
        """
        from submitit.core.utils import DelayedSubmission

        if self.process is not None:
            if self.cluster == "local":  # there the signal comes to this process alone
                self._signal_session(signal.SIGUSR2)
            ended = self._ended_within(self.signal_delay - MARGIN)
            if not ended and self.cluster == "local":
                self.stop()
            self.finished = ended and self._status() == 0
            if self.start is not None:
                self.start.end(f"warning signal, {'saved' if ended else 'no answer'}", waited=False)
            self.unanswered = 0 if ended else self.unanswered + 1
        if self.unanswered >= UNANSWERED:
            raise InnerFailed(
                f"{self.unanswered} warning signals in a row were not answered: it hangs, or it needs more time than "
                "its limit and cannot save; raise runtime"
            )
        self.submitted = time.time()
        return DelayedSubmission(self)

    def _ended_within(self, seconds: float) -> bool:
        end = time.monotonic() + max(seconds, 1.0)
        while self._status() is None:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def _status(self) -> int | None:
        # Not Popen.wait or poll: the signal handler may have interrupted one that holds the lock
        known = self.process.returncode
        return known if known is not None else _exit_status(self.process.pid)

    def stop(self) -> None:
        """End the inner run and all its children (clusters local and debug): TERM, half a second, KILL."""
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
            os.killpg(self.process.pid, number)
            return True
        return False


def _exit_status(pid: int) -> int | None:
    """Return a child's exit status without reaping it (128 + signal if killed), None while it runs."""
    try:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # reaped a moment ago; the interrupted frame has its status
        return 1
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status


def _job_file(ending: str) -> Path:
    """Return a file of this job in submitit's folder, named as submitit names them."""
    from submitit.core.job_environment import JobEnvironment

    path = JobEnvironment().paths.result_pickle
    return path.with_name(path.name.removesuffix("result.pkl") + ending)


def _succeeded_before() -> bool:
    """Tell whether an earlier start of this very job has left a success."""
    try:
        return pickle.loads(_job_file("result.pkl").read_bytes())[0] == "success"
    except (OSError, pickle.UnpicklingError, EOFError):
        return False
