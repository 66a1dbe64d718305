"""Train or resume one run: the same call, the same bits, whatever happened in between."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench.data.dataset import Dataset, open_dataset
from bench.data.subset import read_subset
from bench.diffusion.prediction import check_target
from bench.diffusion.schedule import make_schedule
from bench.models.registry import build, check_schedule
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import digest, refuse_future
from bench.support.randomness import seed_all
from bench.training.checkpoint import sweep
from bench.training.keeper import Interrupted, Keeper
from bench.training.labels import training_labels
from bench.training.lock import lock
from bench.training.loop import Loop
from bench.training.options import recipe
from bench.training.outputs import Trained, write

if TYPE_CHECKING:
    from bench.suite.options import RunSpec

__all__ = ["INTERRUPTED", "Interrupted", "train", "training_digest"]
INTERRUPTED = 75  # exit status "try again": saved, and the same command resumes


def training_digest(spec: RunSpec, data_hash: str, fingerprint: str) -> str:
    """Return the digest of everything that the weights depend on; it names the state folder."""
    return digest([recipe(spec), data_hash, fingerprint])


def train(
    spec: RunSpec,
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

    Raises BenchError for bad data, a loss or weights that are not finite, a foreign checkpoint, too little memory, a full
    disk or an unwritable folder, and Interrupted after SIGTERM, SIGUSR2 or SIGINT, the state saved.
    """
    _check_writable(out_folder)
    refuse_future(dataset_folder / "manifest.json", dataset_folder / "train.npy", subset_file)
    dataset = open_dataset(dataset_folder)
    rows = read_subset(subset_file, dataset, spec.train_size, spec.half).train
    name = training_digest(spec, dataset.manifest["sha256"], code["fingerprint"])
    folder = state_root / name
    _use_deterministic(spec.training.deterministic)
    began = time.time()
    with lock(folder), _enough_memory(spec, device):
        sweep(folder)
        seed_all(_seed(spec), "init")
        model = build(spec.model, dataset.manifest["resolution"], dataset.manifest["channels"])
        check_schedule(spec.model, model, spec.training.schedule, spec.training.timesteps)
        check_target(model, spec.training, spec.model.name)
        if getattr(model, "trains", True):
            loop = _loop(spec, model, dataset, rows, device)
            trained = _optimise(
                loop, Keeper(folder, name, checkpoint_seconds), checkpoint, device, stall_seconds
            )
        else:
            schedule = make_schedule(spec.training.schedule, spec.training.timesteps)
            images = dataset.train[:] if model.fits == "pool" else dataset.train[rows]
            model.to(device).fit(images, schedule)
            trained = Trained(model.state_dict(), model.state_dict(), [], [])
        trained.seconds = time.time() - began
        write(spec, trained, dataset, code, folder, out_folder, device)


def _check_writable(folder: Path) -> None:
    """Refuse an output folder before the training that it would lose."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BenchError(f"Cannot write {folder}: {existing} is not a writable folder; choose another.")


def _use_deterministic(wanted: bool) -> None:
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at its first use
    torch.use_deterministic_algorithms(wanted)


@contextlib.contextmanager
def _enough_memory(spec: RunSpec, device: str) -> Iterator[None]:
    """Turn an error of the device's or the host's memory into a BenchError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise BenchError(
            f"{spec.name}: {device} has too little memory for batches of {spec.training.batch}; raise "
            "training.accumulate, or use a smaller network or a larger device. The last checkpoint is kept."
        ) from error


def _seed(spec: RunSpec) -> int:
    """Return the seed of initialisation and training noise: one for each dataset, shuffle and half.

    With one seed for all datasets, the luck of an initialisation showed on each of them alike (correlation 0.7 over the
    families), and shuffles of two datasets were no replicates.
    """
    return int(digest([spec.dataset, spec.shuffle, spec.half]), 16)


def _loop(spec: RunSpec, model: nn.Module, dataset: Dataset, rows: np.ndarray, device: str) -> Loop:
    labels = training_labels(spec, model, dataset, rows, _seed(spec))
    return Loop(
        model.to(device),
        make_schedule(spec.training.schedule, spec.training.timesteps),
        torch.from_numpy(np.ascontiguousarray(dataset.train[rows])).to(device),
        spec.training,
        _seed(spec),
        spec.name,
        None if labels is None else torch.from_numpy(labels).to(device),
    )


def _optimise(
    loop: Loop, keeper: Keeper, checkpoint: Path | None, device: str, stall_seconds: float
) -> Trained:
    keeper.resume(loop, checkpoint)
    first, began = loop.step, time.monotonic()
    if first:
        say(f"{loop.name}: going on from step {first}")
    keeper.run(loop, device, stall_seconds)
    done = (loop.step - first) * loop.options.batch
    return Trained(
        weights=loop.averaged(),
        raw={key: value.detach().cpu() for key, value in loop.model.state_dict().items()},
        history=loop.history,
        snapshots=loop.options.kept,
        images_per_second=done / max(time.monotonic() - began, 1e-9) if done else None,
        resumed_at=first,
    )
