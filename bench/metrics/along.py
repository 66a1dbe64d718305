"""PSNR and attention along training: the same measurements at each kept checkpoint, and at the end.

Checkpoints are averaged weights at the steps that ``training.snapshots`` lists. An average of decay 0.99 lags some
hundred steps behind the network itself.
"""

from __future__ import annotations

import numpy as np

from bench.jobs.run import Run
from bench.metrics import attention, psnr
from bench.metrics.measure import Measurement
from bench.metrics.options import AlongOptions
from bench.support.errors import BenchError

PSNR = ("psnr_mean", "psnr_gap_mean", "psnr_gap_signed_mean")


def measure(run: Run, options: AlongOptions) -> Measurement:
    """Measure each kept checkpoint; the index is the training step. A control, which is not trained, gives no rows.

    Rows are ``along_`` and the metric's own name; those of a layer say which in the protocol. The map of the shown
    token is kept of each layer and checkpoint, ``token_maps`` (checkpoints, layers, rows, columns).
    Raises BenchError where a checkpoint is missing.
    """
    found = Measurement(arrays={})
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
    return Run(run.folder, run.device, file)


def _add(found: Measurement, row: dict, step: int, protocol: str) -> None:
    found.add(f"along_{row['metric']}", row["value"], row["split"], "training_step", step, protocol)


def _token_maps(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return each layer's map of the shown token, (layers, rows, columns); none for a network without attention."""
    rows, columns = arrays["grid"]
    maps = arrays["maps"]
    return maps[:, int(arrays["token"])].reshape(-1, rows, columns) if len(maps) else maps.reshape(0, 0, 0)
