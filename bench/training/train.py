"""Train one run, or go on where it stopped: the same call, the same bits, whatever happened in between."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as to_safetensors

from bench.data.dataset import Dataset, open_dataset
from bench.data.subset import read_subset
from bench.diffusion.prediction import check_target
from bench.diffusion.schedule import make_schedule
from bench.models.registry import build, check_schedule
from bench.suite import options
from bench.support.console import Progress, say
from bench.support.errors import BenchError
from bench.support.files import atomic, digest, write_json, write_text
from bench.support.options import to_dict
from bench.support.provenance import environment
from bench.support.randomness import seed_all
from bench.training import state
from bench.training.attempts import Attempt, starts, watchdog
from bench.training.labels import training_labels
from bench.training.loop import Loop, run
from bench.training.optimiser import rate_at
from bench.training.options import recipe

INTERRUPTED = 75  # exit status "try again": saved, and the same command goes on


class Interrupted(Exception):
    """A signal asked to stop; the state is saved."""


class _Flag:
    """Set by a signal, read at the next step boundary: nothing is saved inside a handler.

    A second SIGINT stops at once, for a person who does not want to wait, say, for a compilation.
    """

    def __init__(self) -> None:
        self.signal: str | None = None

    def set(self, number: int, frame: object) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


@contextlib.contextmanager
def _signals() -> Iterator[_Flag]:
    flag = _Flag()
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


def training_digest(spec: options.RunSpec, data_hash: str, fingerprint: str) -> str:
    """Return the digest of everything that the weights depend on; it names the state folder."""
    return digest([recipe(spec), data_hash, fingerprint])


def _seed(spec: options.RunSpec) -> int:
    """Return the seed of initialisation and training noise: one for each dataset, shuffle and half.

    With one seed for all datasets, the luck of an initialisation showed on each of them alike (correlation 0.7 over the
    families), and shuffles of two datasets were no replicates.
    """
    return int(digest([spec.dataset, spec.shuffle, spec.half]), 16)


def train(
    spec: options.RunSpec,
    dataset_folder: Path,
    subset_file: Path,
    out_folder: Path,
    state_root: Path,
    *,
    device: str = "cpu",
    code: dict,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60,
    stall_seconds: float = 0,
) -> None:
    """Train ``spec`` and write weights.safetensors, history.csv and run.json into ``out_folder``.

    ``code`` is ``{"fingerprint", "definitions"}`` of the training's import closure.  ``checkpoint`` names one
    to start from; without it the newest of this very configuration is taken.  ``checkpoint_seconds`` is the time
    between two, prolonged where writing one takes over 1 % of it; 0 saves after every step.
    A step that takes longer than ``stall_seconds`` ends the process (0: never).  The same bits come
    out on the same type of machine and device: a GPU draws other numbers than a CPU.

    Raises BenchError for bad data, a loss or weights that are not finite, a foreign checkpoint, a full disk or an
    unwritable folder, and Interrupted after SIGTERM, SIGUSR2 or SIGINT, the state saved.
    """
    _check_writable(out_folder)
    dataset = open_dataset(dataset_folder)
    rows = read_subset(subset_file, dataset, spec.train_size, spec.half)[0]
    images = dataset.train[rows]
    name = training_digest(spec, dataset.manifest["sha256"], code["fingerprint"])
    folder = state_root / name
    deterministic = spec.training.deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at its first use
    torch.use_deterministic_algorithms(deterministic)
    began = time.time()
    with state.lock(folder):
        seed_all(_seed(spec), "init")
        model = build(spec.model, dataset.manifest["resolution"], dataset.manifest["channels"])
        check_schedule(spec.model, model, spec.training.schedule, spec.training.timesteps)
        check_target(model, spec.training, spec.model.name)
        if getattr(model, "trains", True):
            labels = training_labels(spec, model, dataset, rows, _seed(spec))
            result = _optimise(
                spec,
                model,
                images,
                labels,
                folder,
                name,
                device,
                checkpoint,
                (checkpoint_seconds, stall_seconds),
            )
        else:
            model.to(device).fit(images, make_schedule(spec.training.schedule, spec.training.timesteps))
            weights = model.state_dict()
            result = {"weights": weights, "raw": weights, "history": [], "snapshots": []}
        result["seconds"] = time.time() - began
        _write(spec, dataset, result, out_folder, folder, device, code)


def _check_writable(folder: Path) -> None:
    """Refuse an output folder before the training that it would lose."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BenchError(f"Cannot write {folder}: {existing} is not a writable folder; choose another.")


def _optimise(spec, model, images, labels, folder, name, device, checkpoint, clocks) -> dict:
    loop = Loop(
        model.to(device),
        make_schedule(spec.training.schedule, spec.training.timesteps),
        torch.from_numpy(np.ascontiguousarray(images)).to(device),
        spec.training,
        _seed(spec),
        spec.name,
        None if labels is None else torch.from_numpy(labels).to(device),
    )
    saved = state.read(checkpoint, name) if checkpoint else state.newest(folder, name)
    if saved is not None:
        loop.restore(saved)
        say(f"{spec.name}: going on from step {loop.step}")
    first, began = loop.step, time.monotonic()
    status = state.Status(folder, spec.training.steps)
    with (
        Progress(spec.training.steps, spec.name, "step", loop.step) as progress,
        _signals() as flag,
        Attempt(folder, device, lambda: loop.step, spec.training.batch),
        watchdog(clocks[1]) as alive,
    ):
        keeper = _Keeper(folder, name, clocks[0], flag, progress, status, alive, spec.training.kept)
        try:
            _run(loop, keeper)
        except BenchError as error:
            with contextlib.suppress(BenchError):  # a full disk, say: the first error is the one to tell
                status.write("failed", loop.step, reason=str(error))
            raise
    done = (loop.step - first) * spec.training.batch
    status.write("done", loop.step)
    rate = done / max(time.monotonic() - began, 1e-9) if done else None
    return {
        "weights": loop.averaged(),
        "raw": {key: value.detach().cpu() for key, value in loop.model.state_dict().items()},
        "history": loop.history,
        "images_per_second": rate,
        "resumed_at": first,
    }


def _run(loop: Loop, keeper: _Keeper) -> None:
    try:
        run(loop, keeper)
    except torch.OutOfMemoryError as error:
        raise BenchError(
            f"{loop.name}: {loop.device} has too little memory for batches of {loop.options.batch} (step {loop.step}); "
            "ask for a device with more, or use a smaller network. The last checkpoint is kept."
        ) from error


class _Keeper:
    """After each step: report, keep snapshots, save on the clock, at the end and when a signal asks to stop."""

    def __init__(
        self, folder: Path, digest: str, seconds: float, flag: _Flag, progress: Progress, status, alive, kept
    ) -> None:
        self.folder, self.digest, self.seconds = folder, digest, seconds
        self.flag, self.progress, self.status, self.alive = flag, progress, status, alive
        self.due = seconds
        self.kept = kept
        self.began = self.saved = time.monotonic()
        self.first: int | None = None

    def __call__(self, loop: Loop) -> None:
        now = time.monotonic()
        self.first = loop.step - 1 if self.first is None else self.first
        note = f"loss {loop.history[-1][1]:.4g}" if loop.history else ""
        self.progress.advance(note=note)
        if loop.step in self.kept:
            with atomic(self.folder / "snapshots" / f"step{loop.step:08d}.safetensors") as path:
                path.write_bytes(to_safetensors(loop.averaged()))
        last = loop.step == loop.options.steps
        if last or self.flag.signal or now - self.saved >= self.due:
            loop.check()
            loop.check_weights()
            before = time.monotonic()
            state.save(self.folder, loop.step, {**loop.state(), "digest": self.digest})
            self.saved = time.monotonic()
            if self.seconds > 0:  # a large network on a slow disk must not spend its time on saving
                self.due = max(self.seconds, 100 * (self.saved - before))
        rate = (loop.step - self.first) / max(now - self.began, 1e-9)
        left = (loop.options.steps - loop.step) / rate
        speed = rate * loop.options.batch
        if self.flag.signal and not last:
            self.status.write("interrupted", loop.step)
            raise Interrupted(
                f"stopped by {self.flag.signal} at step {loop.step}, saved; the same command goes on"
            )
        if self.status.write("training", loop.step, images_per_second=speed, seconds_left=left):
            self.alive()


def _write(
    spec: options.RunSpec, dataset: Dataset, result: dict, out: Path, folder: Path, device: str, code: dict
) -> None:
    """Write the declared outputs, each whole or not at all, run.json last."""
    bad = [key for key, value in result["weights"].items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise BenchError(
            f"{spec.name}: the trained weights of {bad[0]!r} are not finite; lower learning_rate."
        )
    # one entry: safetensors writes several in an order of its own, and the bytes would differ
    about = {"run": f"{spec.suite}/{spec.name}/{folder.name}"}
    for key in ("weights", "raw") if spec.training.keep_raw else ("weights",):
        with atomic(out / f"{key}.safetensors") as path:
            path.write_bytes(to_safetensors({k: v.contiguous() for k, v in result[key].items()}, about))
    rows = [
        f"{step},{value!r},{rate_at(spec.training, step - 1)!r},{speed:.6g}"
        for step, value, speed in result["history"]
    ]
    write_text(out / "history.csv", "\n".join(["step,loss,learning_rate,images_per_second", *rows]) + "\n")
    snapshots = result.get("snapshots", spec.training.kept)  # a control has none
    for step in snapshots:
        file = Path("snapshots") / f"step{step:08d}.safetensors"
        if not (folder / file).exists():
            raise BenchError(
                f"{spec.name}: {folder / file} is missing, since the checkpoint was of a later step; "
                "leave out --checkpoint."
            )
        with atomic(out / file) as path:
            path.write_bytes((folder / file).read_bytes())
    keys = ("sha256", "resolution", "channels")
    record = {
        "spec": to_dict(spec),
        "digest": folder.name,
        "code": code,
        "data": {key: dataset.manifest[key] for key in keys},
        "result": {key: result.get(key) for key in ("images_per_second", "seconds", "resumed_at")},
        "snapshots": snapshots,
        "attempts": starts(folder),
        "provenance": environment(device),
    }
    write_json(out / "run.json", record)
