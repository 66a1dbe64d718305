"""A comparison as readers see it: tables with the verdicts in words, what the networks cost, the picture."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pandas as pd

from bench.compare.compare import budget_table, compare
from bench.compare.measures import JUDGED
from bench.report.table import Table
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.files import write_text


def write(suite: Plan) -> Path:
    """Compare and write ``results/SUITE/compare/NAME.{csv,md,tex}`` and the figure; return the tables' stem."""
    from bench.compare.picture import draw
    from bench.report.style import save

    table, notes = compare(suite)
    stem = paths.compare_stem(suite.suite, suite.candidate)
    cells = Table(_readable(suite, table), table, _caption(suite, table, notes), columns="lllrlrrlll")
    costs = Table(*_costs(suite), "What the networks cost, and how they were trained.", columns="lrrrrrrl")
    write_text(f"{stem}.csv", table.to_csv(index=False))
    page = [
        f"# {suite.candidate} against the baselines of suite {suite.suite}", "",
        *[f"**{note}**\n" for note in notes], "## Verdicts", "", *summary(suite, table), "",
        "## Cost and budget", "", costs.markdown(), "## Cells", "", cells.markdown(),
    ]  # fmt: skip
    write_text(f"{stem}.md", "\n".join(page))
    write_text(f"{stem}.tex", cells.latex() + "\n" + costs.latex())
    save(draw(suite, table), str(paths.compare_figure(suite.suite, suite.candidate)))
    return stem


def summary(suite: Plan, table: pd.DataFrame) -> list[str]:
    """Return one line for each metric and baseline: in how many cells (dataset, N) the candidate is what."""
    lines = []
    for (metric, baseline), part in table.groupby(["metric", "baseline"], sort=False):
        counts = Counter(part["verdict"])
        words = [f"{word} in {counts[word]} of {len(part)} cells" for word in counts]
        stale = " (stale baseline †)" if (part["stale"] != "").any() else ""
        lines.append(f"- {JUDGED[metric].name} against {_label(suite, baseline)}{stale}: {', '.join(words)}.")
    return lines + [
        f"- **A smaller gap is no merit** against {_label(suite, baseline)} in {count} cells: test PSNR is worse there, "
        "which can be underfitting."
        for baseline, count in underfitted(table).items()
    ]


def underfitted(table: pd.DataFrame) -> dict[str, int]:
    """Return baseline -> number of cells in which the gap is better and the test PSNR worse."""
    words = table.pivot(index=["dataset", "train_size", "baseline"], columns="metric", values="verdict")
    if not {"psnr_gap", "test_psnr"} <= set(words.columns):
        return {}
    found = words[(words["psnr_gap"] == "better") & (words["test_psnr"] == "worse")]
    return found.groupby("baseline", sort=False).size().to_dict()


def _readable(suite: Plan, table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Dataset": [suite.all_datasets[d].title or d for d in table["dataset"]],
            "Against": [
                _label(suite, m) + (" †" if s else "") for m, s in zip(table["baseline"], table["stale"])
            ],
            "N": [f"{n:,}" for n in table["train_size"]],
            "Metric": [JUDGED[m].name for m in table["metric"]],
            "Candidate": [f"{v:.4g}" for v in table["candidate"]],
            "Baseline": [f"{v:.4g}" for v in table["stored"]],
            "Difference": [_signed(v) for v in table["difference"]],
            "95 % over shuffles": [_interval(r.low, r.high) for r in table.itertuples()],
            "95 % over images": [_interval(r.image_low, r.image_high) for r in table.itertuples()],
            "Verdict": table["verdict"],
        }
    )


def _costs(suite: Plan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the budget table as readers see it, and its numbers."""
    budget = budget_table(suite)
    shown = pd.DataFrame(
        {
            "Model": [_label(suite, m) for m in budget["model"]],
            "Parameters (M)": [f"{v / 1e6:.3f}" for v in budget["parameters"]],
            "Multiply-adds (M)": [f"{v / 1e6:.2f}" for v in budget["macs"]],
            "Steps": [f"{v:,}" for v in budget["steps"]],
            "Batch": [f"{v:,}" for v in budget["batch"]],
            "Learning rate": [f"{v:g}" for v in budget["learning_rate"]],
            "Images/s": ["–" if math.isnan(v) else f"{v:,.0f}" for v in budget["images_per_second"]],
            "Device": budget["device"],
        }
    )
    return shown, budget


def _label(suite: Plan, model: str) -> str:
    return suite.models[model].label if model in suite.models else model


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_signed(low)} to {_signed(high)}"


def _caption(suite: Plan, table: pd.DataFrame, notes: list[str]) -> str:
    low, high = table["count"].min(), table["count"].max()
    shuffles = f"{low if low == high else f'{low} to {high}'} shuffle{'s' if high > 1 else ''}"
    sizes = sum(note.startswith("Not matched") for note in notes)
    rest = [note for note in notes if not note.startswith("Not matched")]
    if sizes:
        rest.append(f"Size or budget is not matched with {sizes} of the baselines.")
    return (
        f"{suite.candidate} against the stored baselines of suite {suite.suite}: paired differences, candidate minus "
        f"baseline, over {shuffles}; paired t intervals, verdicts at 5 % after Holm's correction over "
        f"{int(table['p'].notna().sum())} comparisons. The interval over images (of the signed gap, for the gap) is for "
        "these very networks and says nothing of other seeds. "
        f"A smaller gap with a smaller test PSNR can be underfitting. {' '.join(rest)}"
    ).strip()
