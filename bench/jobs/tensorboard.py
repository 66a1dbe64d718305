"""Training histories as TensorBoard events, written by its own library."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.results.tidy import read_tidy
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError


def export(suite: Plan, out: Path) -> list[str]:
    """Write loss, rate and speed of each trained run, and its PSNR along training, into ``out/RUN``; return the runs.

    Raises BenchError where the package is missing, nothing was trained, or a run's events are there already.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise BenchError("Events need the package 'tensorboard': pip install -e '.[tensorboard]'.") from None
    scalars = {run: found for run in suite.runs if len(found := _scalars(suite.suite, run))}
    if not scalars:
        raise BenchError(
            f"No network of suite {suite.suite!r} was trained here; `bench runs` shows their progress."
        )
    if there := [run for run in scalars if (out / run).exists()]:
        raise BenchError(f"{out / there[0]} already exists; delete it, or give another --out.")
    for run, table in scalars.items():
        with SummaryWriter(str(out / run)) as writer:
            for row in table.itertuples():
                writer.add_scalar(row.tag, row.value, int(row.step))
    return list(scalars)


def _scalars(suite: str, run: str) -> pd.DataFrame:
    """Return tag, step and value of everything that has a training step."""
    parts = [pd.DataFrame(columns=["tag", "step", "value"])]
    history = paths.run_folder(suite, run) / "history.csv"
    if history.exists():
        table = pd.read_csv(history)
        parts += [
            pd.DataFrame({"tag": f"training/{name}", "step": table["step"], "value": table[name]})
            for name in table.columns.drop("step")
        ]
    measured = paths.measured_files(suite, run)[0]
    if measured.exists():
        rows = read_tidy(measured)
        rows = rows[(rows["index_name"] == "training_step") & (rows["metric"] == "along_psnr_mean")]
        parts.append(
            pd.DataFrame({"tag": "psnr/" + rows["split"], "step": rows["index"], "value": rows["value"]})
        )
    return pd.concat([part for part in parts if len(part)] or parts)
