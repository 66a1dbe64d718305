"""PSNR and attention along training: the same measurements at each kept checkpoint, and at the end.

Checkpoints are averaged weights at the steps of ``training.checkpoints`` and ``training.snapshots``. An average of
decay 0.99 lags some hundred steps behind the network itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics import attention, psnr
from bench.metrics.attention import LOCALITY, AttentionOptions
from bench.metrics.declare import Measurement, Result, Row
from bench.metrics.psnr import PsnrOptions
from bench.support.errors import BenchError
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

PSNR = ("psnr_mean", "psnr_gap_mean", "psnr_gap_signed_mean")


@dataclass(frozen=True)
class AlongOptions:
    """PSNR and attention along training, at the checkpoints that are kept, and at the end."""

    __pydantic_config__ = STRICT

    psnr: PsnrOptions | None = option(None, "PSNR of each checkpoint, with these options")
    attention: AttentionOptions | None = option(None, "attention of each checkpoint, with these options")

    def __post_init__(self) -> None:
        check(self.psnr is not None or self.attention is not None, "along must name psnr, attention or both")
        heads = self.attention is not None and self.attention.heads == "each"
        check(not heads, "along averages attention over heads; leave out heads: each")


def _passes(options: AlongOptions, run: RunSpec) -> float:
    once = options.psnr.passes(run.training.timesteps) if options.psnr else 0
    once += options.attention.passes() if options.attention else 0
    return once * len({*run.training.kept, run.training.steps})


MEASUREMENT = Measurement(
    "along",
    AlongOptions,
    {
        f"along_{metric}": Row(row.unit, row.better, f"{metric} at a training step")
        for metric, row in psnr.MEASUREMENT.rows.items()
        if metric in PSNR
    }
    | {
        f"along_attention_{name}": Row(
            row.unit, row.better, f"attention_{name} of a layer at a training step"
        )
        for name, row in LOCALITY.items()
    },
    passes=lambda options, run, pixels: _passes(options, run),
    problem=lambda options, run, datasets: (
        None if run.training.kept else "along needs checkpoints; set training.checkpoints to their number"
    ),
)


def measure(run: Run, options: AlongOptions) -> Result:
    """Measure each kept checkpoint; the index is the training step. A control, which is not trained, gives no rows.

    Rows are ``along_`` and the metric's own name; those of a layer say which in the protocol. The map of the shown
    token is kept of each layer and checkpoint, ``token_maps`` (checkpoints, layers, rows, columns).
    Raises BenchError where a checkpoint is missing.
    """
    found = Result()
    kept = run.record["snapshots"]
    if not kept:
        return found
    steps = sorted({*kept, run.spec.training.steps})
    maps = []
    for step in steps:
        at = _at(run, step)
        if options.psnr is not None:
            for row in psnr.measure(at, options.psnr).rows:
                if row["metric"] in PSNR:
                    _add(found, row, step, row["protocol"])
        if options.attention is not None:
            seen = attention.measure(at, options.attention)
            for row in seen.rows:
                _add(found, row, step, f"{row['protocol']};layer={row['index']}")
            maps.append(_token_maps(seen.arrays))
    found.arrays["steps"] = np.array(steps)
    if maps:
        found.arrays["token_maps"] = np.stack(maps)
        found.arrays["layers"] = seen.arrays["layers"]
    return found


def _at(run: Run, step: int) -> Run:
    """Return the run with its weights at a training step."""
    if step not in run.record["snapshots"]:
        return run  # the end
    file = run.folder / "snapshots" / f"step{step:08d}.safetensors"
    if not file.exists():
        raise BenchError(f"{file} is missing; delete {run.folder / 'run.json'} and train the run again.")
    return run.reopen(weights=file)


def _add(found: Result, row: dict, step: int, protocol: str) -> None:
    found.add(f"along_{row['metric']}", row["value"], row["split"], "training_step", step, protocol)


def _token_maps(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return each layer's map of the shown token, (layers, rows, columns); none for a network without attention."""
    rows, columns = arrays["grid"]
    maps = arrays["maps"]
    return maps[:, int(arrays["token"])].reshape(-1, rows, columns) if len(maps) else maps.reshape(0, 0, 0)
