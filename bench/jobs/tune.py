"""Learning rates tried for one network: short runs that differ only in the rate, judged on validation images alone.

The runs are a generated plan, ``results/tune``, which is trained and measured like any suite's, so the same call resumes
where it stopped.  Of what was measured only train and validation images are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.jobs.pieces import lacking, run_pieces
from bench.metrics.psnr import PsnrOptions
from bench.models.families import CONTROLS
from bench.models.spec import ModelSpec
from bench.results.statistics import nested_interval, paired_interval
from bench.results.tidy import read_tidy
from bench.suite.candidate import find_preset
from bench.suite.grid import run_of
from bench.suite.options import MeasureOptions, RunSpec, measured
from bench.suite.plan import TUNED, Plan
from bench.suite.strict import validate
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import write_text
from bench.support.options import to_dict
from bench.training.options import TrainingOptions

FACTORS = (0.5, 1.0, 2.0)  # of the suite's own rate
SHARE = 3  # the suite's steps by those of a short run


def plan(
    suite: Plan,
    model: str,
    dataset: str | None,
    size: int | None,
    rates: Sequence[float],
    shuffles: int,
    steps: int | None,
) -> Plan:
    """Return the runs of a preset or ``FILE.py:NAME`` at each rate and shuffle, otherwise trained as in ``suite``.

    Without ``dataset`` and ``size`` (N) they are those of the suite's run of this model, or of its first, at the largest N.
    Raises BenchError for an unknown model, a control, a cell that the suite lacks, or a pool without validation images.
    """
    name, preset = find_preset(model, suite.models)
    if preset.family in CONTROLS:
        raise BenchError(f"{name} is a closed form and has no learning rate; name a network.")
    base = _base(suite, name, dataset, size)
    if suite.all_datasets[base.dataset].source_of("validation") is None:
        raise BenchError(
            f"{base.dataset} has no validation images to tune on; set `validation: N` in its row."
        )
    rates = sorted({*(rates or (factor * base.training.learning_rate for factor in FACTORS))})
    if len(rates) < 2:
        raise BenchError(f"One rate ({rates[0]:g}) leaves nothing to compare; give --rate twice or more.")
    runs = {run.name: run for run in _runs(suite, base, preset.spec(name), rates, shuffles, steps)}
    models = {**suite.models, name: preset}
    return Plan(TUNED, f"Learning rates of {name}", {}, runs, models, suite.all_datasets)


def _base(suite: Plan, model: str, dataset: str | None, size: int | None) -> RunSpec:
    """Return the run whose recipe the short runs take: this model's, else the first, at the largest N."""
    fitting = [
        run
        for run in suite.runs.values()
        if run.model.family not in CONTROLS and not run.recipe
        if dataset in (None, run.dataset) and size in (None, run.train_size)
    ]
    if not fitting:
        where = f"{dataset or 'any dataset'}{'' if size is None else f' at N = {size}'}"
        raise BenchError(f"Suite {suite.suite!r} trains no network on {where}; `bench plan` lists its runs.")
    return min(fitting, key=lambda run: (run.model.name != model, -run.train_size))


def _runs(
    suite: Plan, base: RunSpec, model: ModelSpec, rates: Sequence[float], shuffles: int, steps: int | None
) -> Iterator[RunSpec]:
    own = base.training
    steps = max(own.steps // SHARE, 1) if steps is None else steps
    shared = to_dict(own) | {"steps": steps, "warmup": own.warmup * steps // own.steps}
    shared |= {"snapshots": [], "checkpoints": 0}
    measure = MeasureOptions(psnr=base.measure.psnr or PsnrOptions())
    for rate in rates:
        training = validate(TrainingOptions, shared | {"learning_rate": rate}, "bench tune")
        for shuffle in range(shuffles):
            run = run_of(
                TUNED, base.dataset, model, base.train_size, shuffle, f"{steps}-steps-rate-{rate:g}",
                training=training, measure=measure,
            )  # fmt: skip
            yield measured(run, ["psnr"], suite.all_datasets, "bench tune")


def tune(wanted: Plan, device: str, minutes: float) -> tuple[int, pd.DataFrame | None]:
    """Do the runs, as far as the time goes; return the status of :func:`run_pieces` and, once all ended, the table.

    A rate whose training failed, say because it diverged, has no numbers.  Raises BenchError where all failed.
    """
    wanted.write()
    status = run_pieces(wanted, device, minutes)
    found = compare(wanted) if status in (0, 1) else None
    if found is not None:
        write_text(table_file(wanted), found.to_csv(index=False))
    return status, found


def table_file(wanted: Plan) -> Path:
    """Return the file of the table, ``results/tune/DATASET.MODEL.nN.csv``."""
    run = next(iter(wanted.runs.values()))
    return paths.suite_folder(TUNED) / f"{run.dataset}.{run.model.name}.n{run.train_size}.csv"


def compare(wanted: Plan) -> pd.DataFrame:
    """Return a row for each rate: PSNR on train and validation images, and how far the latter lies from the best.

    ``low`` to ``high`` is the 95 % interval of ``difference`` over shuffles, of one shuffle over its images (``over``).
    """
    rates: dict[float, list[str]] = {}
    for name, run in wanted.runs.items():
        rates.setdefault(run.training.learning_rate, []).append(name)
    done = {r: runs for r, runs in rates.items() if not any(lacking(wanted, run) for run in runs)}
    if not done:
        raise BenchError("No rate has a finished run; the lines above say why. Try smaller rates.")
    images = {rate: [_images(run) for run in runs] for rate, runs in done.items()}
    best = max(images, key=lambda rate: np.mean([one["validation"].mean() for one in images[rate]]))
    table = pd.DataFrame([_row(rate, images.get(rate), images[best]) for rate in rates])
    table.insert(1, "steps", next(iter(wanted.runs.values())).training.steps)
    return table.assign(linear=np.mean([_linear(run) for runs in done.values() for run in runs]))


def _row(rate: float, own: Sequence[Mapping] | None, best: Sequence[Mapping]) -> dict:
    if own is None:
        return {"learning_rate": rate, "over": "failed"}
    parts = [one["validation"] - other["validation"] for one, other in zip(own, best)]
    single = len(parts) == 1
    found = nested_interval(parts) if single else paired_interval([part.mean() for part in parts])
    psnr = {split: float(np.mean([one[split].mean() for one in own])) for split in ("train", "validation")}
    interval = {"difference": found.mean, "low": found.low, "high": found.high}
    return {"learning_rate": rate, **psnr, **interval, "over": "images" if single else "shuffles"}


def _images(run: str) -> dict[str, np.ndarray]:
    """Return the PSNR of single images, (K,), mean over the step indices, by split."""
    with np.load(paths.arrays_folder(TUNED, run) / "psnr.npz", allow_pickle=False) as arrays:
        return {split: arrays[split].astype(float).mean(1) for split in ("train", "validation")}


def _linear(run: str) -> float:
    rows = read_tidy(paths.measured_files(TUNED, run)[0])
    same = (rows["metric"] == "linear_psnr_mean") & (rows["split"] == "validation")
    return float(rows[same]["value"].iloc[0])


def readable(table: pd.DataFrame) -> str:
    """Return the table as text, in dB."""
    rate = {"learning_rate": "{:g}".format}
    return table.to_string(index=False, na_rep="", float_format="{:.2f}".format, formatters=rate)


def advice(table: pd.DataFrame) -> str:
    """Return which rate is taken, which others are not shown to be worse, and whether a better one may lie outside."""
    place = int(table["validation"].idxmax())
    best, rest = table.iloc[place], table.drop(place)
    alike = [f"{r.learning_rate:g}" for r in rest.itertuples() if r.over != "failed" and not r.high < 0]
    outside = {
        0: "smallest that was tried; try smaller",
        len(table) - 1: "largest that was tried; try larger",
    }
    return (
        f"Take {best['learning_rate']:g}: {best['validation']:.2f} dB on validation images after {best['steps']} steps, "
        f"where the pool's linear filter reaches {best['linear']:.2f} dB."
        + (f" Not shown to be worse: {', '.join(alike)}." if alike else "")
        + (f" It is the {outside[place]} ones too." if place in outside else "")
    )
