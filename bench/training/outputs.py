"""The declared outputs of a training: weights, history, snapshots and ``run.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save as to_safetensors
from torch import Tensor

from bench.data.dataset import Dataset
from bench.support.errors import BenchError
from bench.support.files import atomic, write_json, write_text
from bench.support.options import to_dict
from bench.support.provenance import environment
from bench.training.keeper import snapshot_name
from bench.training.log import starts
from bench.training.optimiser import rate_at

if TYPE_CHECKING:
    from bench.suite.options import RunSpec


@dataclass
class Trained:
    """What a training gives: weights by name, the last ones without averaging, and how it went."""

    weights: dict[str, Tensor]
    raw: dict[str, Tensor]
    history: list[tuple[int, float, float]]
    snapshots: list[int]
    images_per_second: float | None = None
    resumed_at: int | None = None
    seconds: float = 0.0


def write(
    spec: RunSpec, trained: Trained, dataset: Dataset, code: dict, folder: Path, out: Path, device: str
) -> None:
    """Write the outputs into ``out``, each whole or not at all, run.json last; ``folder`` holds the state.

    Raises BenchError if a weight is not finite or a snapshot is missing.
    """
    bad = next((key for key, value in trained.weights.items() if not bool(value.isfinite().all())), None)
    if bad is not None:
        raise BenchError(f"{spec.name}: the trained weights of {bad!r} are not finite; lower learning_rate.")
    _write_weights(spec, trained, folder.name, out)
    _write_history(spec, trained, out)
    _copy_snapshots(spec, trained, folder, out)
    record = {
        "spec": to_dict(spec),
        "digest": folder.name,
        "code": code,
        "data": {key: dataset.manifest[key] for key in ("sha256", "resolution", "channels")},
        "result": {key: getattr(trained, key) for key in ("images_per_second", "seconds", "resumed_at")},
        "snapshots": trained.snapshots,
        "attempts": starts(folder),
        "provenance": environment(device),
    }
    write_json(out / "run.json", record)


def _write_weights(spec: RunSpec, trained: Trained, digest: str, out: Path) -> None:
    # one entry: safetensors writes several in an order of its own, and the bytes would differ
    about = {"run": f"{spec.suite}/{spec.name}/{digest}"}
    for key in ("weights", "raw") if spec.training.keep_raw else ("weights",):
        with atomic(out / f"{key}.safetensors") as path:
            path.write_bytes(
                to_safetensors({k: v.contiguous() for k, v in getattr(trained, key).items()}, about)
            )


def _write_history(spec: RunSpec, trained: Trained, out: Path) -> None:
    rows = [
        f"{step},{loss!r},{rate_at(spec.training, step - 1)!r},{speed:.6g}"
        for step, loss, speed in trained.history
    ]
    write_text(out / "history.csv", "\n".join(["step,loss,learning_rate,images_per_second", *rows]) + "\n")


def _copy_snapshots(spec: RunSpec, trained: Trained, folder: Path, out: Path) -> None:
    for name in map(snapshot_name, trained.snapshots):
        if not (folder / name).exists():
            raise BenchError(
                f"{spec.name}: {folder / name} is missing, since the checkpoint was of a later step; "
                "leave out --checkpoint."
            )
        with atomic(out / name) as path:
            path.write_bytes((folder / name).read_bytes())
