"""The picture of a comparison: a panel for each dataset and measure, the difference to each baseline with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.compare import NEITHER, NOT_RANKED, Comparison
from bench.report.style import MARKERS, PALETTE, new_figure
from bench.results.measures import Measure
from bench.results.statistics import BETTER, EQUAL, WORSE

PANELS = 4
DECIDED = (BETTER, WORSE, EQUAL, *NEITHER.values())


def draw(found: Comparison) -> Figure:
    """Draw candidate minus baseline with its 95 % interval over shuffles; filled markers are decided.

    The better side is named under each panel.  Cells in which that side is not fitted or still learning are left out,
    and the figure says so; † marks baselines that are out of date.
    """
    evidence = found.evidence
    measures = evidence.measures[:PANELS]
    cells = found.cells[found.cells["metric"].isin([measure.key for measure in measures])]
    table = cells[~cells["verdict"].str.startswith(NOT_RANKED)]
    datasets, baselines = (list(dict.fromkeys(cells[key])) for key in ("dataset", "baseline"))
    figure = new_figure((0.55 + 0.22 * len(baselines)) * len(datasets) + 0.7)
    axes = figure.subplots(len(datasets), len(measures), squeeze=False, sharey=True)
    for row, dataset in zip(axes, datasets):
        here = table[table["dataset"] == dataset]
        for ax, measure in zip(row, measures):
            _panel(ax, here[here["metric"] == measure.key], measure, baselines)
        stale = set(here.loc[here["stale"] != "", "baseline"])
        marked = [evidence.label(b) + (" †" if b in stale else "") for b in baselines]
        row[0].set_yticks(range(len(baselines)), marked)
        row[0].set_ylabel(evidence.title(dataset), fontsize=7)
        row[0].invert_yaxis()
    handles = {label: handle for ax in figure.axes for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=max(len(handles), 1))
    figure.suptitle(
        f"{evidence.candidate} minus each baseline, 95 % moderated t interval over shuffles", fontsize=8
    )
    figure.supxlabel("; ".join(_remarks(table, len(cells) - len(table))), fontsize=6)
    return figure


def _remarks(table: pd.DataFrame, left_out: int) -> list[str]:
    remarks = ["filled: decided after correction"]
    if left_out:
        remarks.append(f"{left_out} cells left out: the better side is not fitted or still learning")
    if (table["stale"] != "").any():
        remarks.append("† out of date with the current code, options or data")
    return remarks


def _panel(ax: Axes, table: pd.DataFrame, measure: Measure, baselines: list[str]) -> None:
    sizes = sorted(set(table["train_size"]))
    ax.axvline(0, color="0.4", linewidth=0.8)
    for i, size in enumerate(sizes):
        part = table[table["train_size"] == size]
        colour, y = (
            PALETTE[i % 6],
            [baselines.index(b) + (i - (len(sizes) - 1) / 2) * 0.25 for b in part["baseline"]],
        )
        low, high = (part[c].fillna(part["difference"]).map(measure.shown) for c in ("low", "high"))
        ax.hlines(y, low, high, colors=colour, linewidth=0.8)
        ax.scatter(
            part["difference"].map(measure.shown), y, s=14, marker=MARKERS[i % 6],
            c=[colour if word in DECIDED else "white" for word in part["verdict"]],
            edgecolors=colour, linewidths=0.9, zorder=3, label=f"N = {size:,}",
        )  # fmt: skip
    ax.set_title(measure.change[0].upper() + measure.change[1:], fontsize=7)
    sides = {"lower": "← better", "higher": "better →", "": "← lower"}
    ax.set_xlabel(sides[measure.row.better], fontsize=6.5)
    ax.margins(x=0.15, y=0.1)
