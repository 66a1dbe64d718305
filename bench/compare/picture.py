"""The picture of a comparison: a panel for each dataset and metric, the difference to each baseline with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.compare import COMPARED
from bench.plan import Plan
from bench.report.style import MARKERS, PALETTE, count, new_figure
from bench.tidy import METRICS

NAMES = {metric: name[0].upper() + name[1:] for metric, _, name in COMPARED}


def draw(suite: Plan, table: pd.DataFrame) -> Figure:
    """Draw candidate minus baseline; the better side is named under each panel, filled markers have a verdict."""
    metrics = list(dict.fromkeys(table["metric"]))[:4]
    datasets = list(dict.fromkeys(table["dataset"]))
    baselines = list(dict.fromkeys(table["baseline"]))
    figure = new_figure((0.55 + 0.22 * len(baselines)) * len(datasets) + 0.5)
    axes = figure.subplots(len(datasets), len(metrics), squeeze=False, sharey=True)
    for row, dataset in zip(axes, datasets):
        for ax, metric in zip(row, metrics):
            part = table[(table["dataset"] == dataset) & (table["metric"] == metric)]
            _panel(ax, part, baselines)
            ax.set_title(NAMES[metric], fontsize=7)
            better = METRICS[metric][1]
            ax.set_xlabel({"lower": "← better", "higher": "better →"}.get(better, ""), fontsize=6.5)
        row[0].set_yticks(
            range(len(baselines)), [suite.models[b].label if b in suite.models else b for b in baselines]
        )
        row[0].set_ylabel(suite.all_datasets[dataset].title or dataset, fontsize=7)
        row[0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _panel(ax: Axes, table: pd.DataFrame, baselines: list[str]) -> None:
    sizes = sorted(set(table["train_size"]))
    ax.axvline(0, color="0.4", linewidth=0.8)
    for i, size in enumerate(sizes):
        part = table[table["train_size"] == size]
        y = [baselines.index(b) + (i - (len(sizes) - 1) / 2) * 0.25 for b in part["baseline"]]
        half = (part["high"] - part["low"]).fillna(0) / 2
        shown = part["verdict"].isin(["better", "worse"])
        ax.errorbar(
            part["difference"], y, xerr=half, fmt="none", ecolor=PALETTE[i % 6], elinewidth=0.8, capsize=1.5
        )
        faces = [PALETTE[i % 6] if s else "white" for s in shown]
        ax.scatter(
            part["difference"], y, s=14, marker=MARKERS[i % 6], c=faces, edgecolors=PALETTE[i % 6], linewidths=0.9,
            zorder=3, label=f"N = {count(size)}",
        )  # fmt: skip
    ax.margins(x=0.15, y=0.1)
