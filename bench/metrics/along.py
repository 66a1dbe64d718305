"""PSNR and attention along training: the same measurements at each kept checkpoint, and at the end.

The best checkpoint is chosen on validation images; its test PSNR is a report.

Checkpoints are averaged weights at the steps of ``training.checkpoints`` and ``training.snapshots``. An average of
decay 0.99 lags some hundred steps behind the network itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec


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


def _problem(options: AlongOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    if not run.training.kept:
        return "along needs checkpoints; set training.checkpoints to their number"
    for module, one in ((psnr, options.psnr), (attention, options.attention)):
        if one and (found := module.MEASUREMENT.problem(one, run, datasets)):
            return f"along: {found}"
    return None


AT_STEP = ("psnr_mean", "psnr_gap_mean", "psnr_gap_signed_mean")
MEASUREMENT = Measurement(
    "along",
    AlongOptions,
    {f"along_{m}": Row("dB", psnr.ROWS[m].better, f"{m} at a training step") for m in AT_STEP}
    | {
        f"along_attention_{name}": Row(
            row.unit, row.better, f"attention_{name} of a layer at a training step"
        )
        for name, row in LOCALITY.items()
    }
    | {
        "best_step": Row("", "", "training step of the best checkpoint, of the highest validation PSNR"),
        "best_psnr_mean": Row(
            "dB",
            "higher",
            "psnr_mean of the best checkpoint",
            psnr.DECIBELS,
            "test PSNR of the best checkpoint",
        ),
        "best_psnr_gap_mean": Row(
            "dB", "lower", "psnr_gap_mean of the best checkpoint", psnr.GAP, "PSNR gap of the best checkpoint"
        ),
        "best_lead": Row("dB", "lower", "validation PSNR of the best checkpoint minus that of the end"),
        "best_lead_error": Row("dB", "", "standard error of best_lead, paired over validation images"),
        "gap_at_train_psnr": Row(
            "dB",
            "lower",
            "psnr_gap_signed_mean where psnr_mean on train images reaches a whole dB, between checkpoints",
            psnr.GAP,
            "PSNR gap at equal train PSNR",
        ),
    },
    passes=lambda options, run, pixels: _passes(options, run),
    problem=_problem,
)


def measure(run: Run, options: AlongOptions) -> Result:
    """Measure each kept checkpoint, and the end; the index is the training step. A control gives no rows.

    Rows are ``along_`` and the metric's own name; those of a layer say which in the protocol.  Arrays are ``steps``, the
    PSNR of single images, mean over the step indices, by split (checkpoints, K), and the map of the shown token of
    each layer, ``token_maps`` (checkpoints, layers, rows, columns).  Raises BenchError if a checkpoint is missing.
    """
    found = Result()
    if not run.record["snapshots"]:
        return found
    steps = sorted({*run.record["snapshots"], run.spec.training.steps})
    found.arrays["steps"] = np.array(steps)
    if options.psnr is not None:
        _psnr_along(found, run, steps, options.psnr)
    if options.attention is not None:
        _attention_along(found, run, steps, options.attention)
    return found


def _at(run: Run, step: int) -> Run:
    """Return the run with its weights at a training step."""
    if step not in run.record["snapshots"]:
        return run  # the end
    file = run.folder / "snapshots" / f"step{step:08d}.safetensors"
    if not file.exists():
        raise BenchError(f"{file} is missing; delete {run.folder / 'run.json'} and train the run again.")
    return run.reopen(weights=file)


def _psnr_along(found: Result, run: Run, steps: list[int], options: PsnrOptions) -> None:
    """Add PSNR and gap at each checkpoint, those of the best one, and the gap at whole dB of train PSNR."""
    from bench.metrics.numerics.denoising import on_device, psnr_by_step

    pools, grid = psnr.pools_of(run, options.images), psnr.grid_of(run, options)
    images = [on_device(pool, run.device) for pool in pools.values()]
    protocol = psnr.protocol_of(options, len(grid), options.clip)
    single: dict[str, list[np.ndarray]] = {split: [] for split in pools}
    gaps = []
    for step in steps:
        values = dict(zip(pools, psnr_by_step([_at(run, step).model], grid, images, [options.clip])[0, :, 0]))
        for split, one in values.items():
            single[split].append(one.mean(1))
            found.add("along_psnr_mean", one.mean(0).mean(), split, "training_step", step, protocol)
        signed = values["train"].mean(0) - values["test"].mean(0)
        gaps.append({"gap": np.maximum(signed, 0).mean(), "gap_signed": signed.mean()})
        for kind, value in gaps[-1].items():
            found.add(f"along_psnr_{kind}_mean", value, "train-test", "training_step", step, protocol)
    curves = {split: np.array(parts) for split, parts in single.items()}
    found.arrays |= {split: curve.astype(np.float32) for split, curve in curves.items()}
    if "validation" in curves:
        best = int(curves["validation"].mean(1).argmax())
        found.add("best_step", steps[best], protocol=protocol)
        for split, curve in curves.items():
            found.add("best_psnr_mean", curve[best].mean(), split, protocol=protocol)
        found.add("best_psnr_gap_mean", gaps[best]["gap"], "train-test", protocol=protocol)
        lead = curves["validation"][best] - curves["validation"][-1]
        found.add("best_lead", lead.mean(), "validation", protocol=protocol)
        if len(lead) > 1:
            error = lead.std(ddof=1) / len(lead) ** 0.5
            found.add("best_lead_error", error, "validation", protocol=protocol)
    levels = gap_at_whole_decibels(curves["train"].mean(1), np.array([gap["gap_signed"] for gap in gaps]))
    for level, value in levels.items():
        found.add("gap_at_train_psnr", value, "train-test", "train_psnr", level, protocol)


def gap_at_whole_decibels(train: np.ndarray, gap: np.ndarray) -> dict[int, float]:
    """Return the gap where train PSNR first reaches each whole dB, linear between checkpoints (n,)."""
    found: dict[int, float] = {}
    for left, right, first, second in zip(train, train[1:], gap, gap[1:]):
        for level in range(math.ceil(left), math.floor(right) + 1):
            share = (level - left) / (right - left) if right > left else 0.0
            found.setdefault(level, float(first + share * (second - first)))
    return found


def _attention_along(found: Result, run: Run, steps: list[int], options: AttentionOptions) -> None:
    """Add the locality of each layer at each checkpoint, and keep the map of the shown token."""
    maps = []
    for step in steps:
        seen = attention.measure(_at(run, step), options)
        for row in seen.rows:
            protocol = f"{row['protocol']};layer={row['index']}"
            found.add(f"along_{row['metric']}", row["value"], row["split"], "training_step", step, protocol)
        maps.append(_token_maps(seen.arrays))
    found.arrays |= {"token_maps": np.stack(maps), "layers": seen.arrays["layers"]}


def _token_maps(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return each layer's map of the shown token, (layers, rows, columns); none for a network without attention."""
    rows, columns = arrays["grid"]
    maps = arrays["maps"]
    return maps[:, int(arrays["token"])].reshape(-1, rows, columns) if len(maps) else maps.reshape(0, 0, 0)
