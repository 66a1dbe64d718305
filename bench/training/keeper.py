"""What happens between the steps of a training: report, snapshots, checkpoints, and a stop that was asked for."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors

from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import atomic
from bench.training import checkpoint
from bench.training.log import Log
from bench.training.loop import Loop


class Interrupted(Exception):
    """A signal asked to stop; the state is saved."""


class Flag:
    """Set by a signal, read at the next step boundary: nothing is saved inside a handler.

    A second SIGINT stops at once, for instance during a long compilation.
    """

    def __init__(self) -> None:
        self.signal: str | None = None

    def set(self, number: int, frame: object) -> None:
        """Handle a signal."""
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


@contextlib.contextmanager
def signals() -> Iterator[Flag]:
    """Yield a flag that SIGTERM, SIGUSR2 and SIGINT set; outside of the main thread nothing sets it."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    before = [signal.signal(number, flag.set) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[Callable[[], None]]:
    """End the process with its threads' stack traces if the yielded function is not called for this many seconds.

    A hung training thereby becomes a failed job, which is started again; 0 waits forever.
    """
    if seconds <= 0:
        yield lambda: None
        return

    def alive() -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)

    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()


class Keeper:
    """The state folder of a training: resumes from it, and updates it while the training runs.

    ``digest`` tells the checkpoints of this training from all others.  A checkpoint is written every ``seconds``, less often
    where writing takes over 1 % of the time, at the end, and when a signal asks to stop; 0 saves after every step.
    """

    def __init__(self, folder: Path, digest: str, seconds: float) -> None:
        self.folder, self.digest, self.seconds = folder, digest, seconds
        self.due, self.saved = seconds, time.monotonic()

    def resume(self, loop: Loop, named: Path | None) -> None:
        """Restore the checkpoint that is ``named``, or the newest of this training if there is one."""
        saved = self._load(named) if named else checkpoint.newest(self.folder, self._load)
        if saved is not None:
            loop.restore(saved)

    def run(self, loop: Loop, device: str, stall_seconds: float) -> None:
        """Train to the last step; raises Interrupted after a signal, the state saved."""
        steps = loop.options.steps
        with (
            Progress(steps, loop.name, "step", loop.step) as progress,
            signals() as flag,
            Log(self.folder, device, lambda: loop.step, steps, loop.options.batch) as log,
            watchdog(stall_seconds) as alive,
        ):
            kept = set(loop.options.kept)
            for step in loop.run():
                progress.advance(note=f"loss {loop.history[-1][1]:.4g}" if loop.history else "")
                if step in kept:
                    self._snapshot(loop)
                self._save_if_due(loop, flag.signal is not None or step == steps)
                if flag.signal and step < steps:
                    raise Interrupted(
                        f"stopped by {flag.signal} at step {step}, saved; run the same command again to resume"
                    )
                if log.beat():
                    alive()

    def _snapshot(self, loop: Loop) -> None:
        with atomic(self.folder / snapshot_name(loop.step)) as path:
            path.write_bytes(to_safetensors(loop.averaged()))

    def _save_if_due(self, loop: Loop, now: bool) -> None:
        before = time.monotonic()
        if not now and before - self.saved < self.due:
            return
        loop.check()
        loop.check_weights()
        buffer = io.BytesIO()
        torch.save({**loop.state(), "digest": self.digest}, buffer)
        checkpoint.save(self.folder, loop.step, buffer.getbuffer())
        self.saved = time.monotonic()
        if self.seconds > 0:  # a large network on a slow disk must not spend its time on saving
            self.due = max(self.seconds, 100 * (self.saved - before))

    def _load(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint, its tensors on the CPU: a run may resume without a GPU."""
        try:
            state = torch.load(io.BytesIO(checkpoint.read(path)), map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
            raise checkpoint.Damaged(
                f"The checkpoint {path} is damaged ({type(error).__name__}); delete it."
            ) from error
        if not isinstance(state, dict) or state.get("digest") != self.digest:
            raise BenchError(
                f"The checkpoint {path} belongs to another configuration, dataset or code; leave out --checkpoint."
            )
        return state


def snapshot_name(step: int) -> Path:
    """Return where the averaged weights of a step lie, relative to a state folder and to a run's."""
    return Path("snapshots") / f"step{step:08d}.safetensors"
