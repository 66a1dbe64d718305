"""The picture of a comparison: a panel for each dataset and metric, the difference to each baseline with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.measures import JUDGED
from bench.report.style import MARKERS, PALETTE, count, new_figure
from bench.suite.plan import Plan

PANELS = 4
DECIDED = ("better", "worse", "more local", "less local")


def draw(suite: Plan, table: pd.DataFrame) -> Figure:
    """Draw candidate minus baseline; the better side is named under each panel, filled markers have a verdict.

    Bars are intervals over shuffles, over images where there is one shuffle; † marks stale baselines.
    """
    metrics = list(dict.fromkeys(table["metric"]))[:PANELS]
    datasets = list(dict.fromkeys(table["dataset"]))
    baselines = list(dict.fromkeys(table["baseline"]))
    figure = new_figure((0.55 + 0.22 * len(baselines)) * len(datasets) + 0.5)
    axes = figure.subplots(len(datasets), len(metrics), squeeze=False, sharey=True)
    for row, dataset in zip(axes, datasets):
        here = table[table["dataset"] == dataset]
        for ax, metric in zip(row, metrics):
            _panel(ax, here[here["metric"] == metric], baselines)
            name = JUDGED[metric].name
            ax.set_title(name[0].upper() + name[1:], fontsize=7)
            better = JUDGED[metric].better
            ax.set_xlabel(
                {"lower": "← better", "higher": "better →"}.get(better, "← more local"), fontsize=6.5
            )
        stale = set(here.loc[here["stale"] != "", "baseline"])
        labels = [suite.models[b].label if b in suite.models else b for b in baselines]
        marked = [label + (" †" if b in stale else "") for b, label in zip(baselines, labels)]
        row[0].set_yticks(range(len(baselines)), marked)
        row[0].set_ylabel(suite.all_datasets[dataset].title or dataset, fontsize=7)
        row[0].invert_yaxis()
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    if (table["stale"] != "").any():
        figure.supxlabel("† stale: the present code, options or data would not give it again", fontsize=6)
    return figure


def _panel(ax: Axes, table: pd.DataFrame, baselines: list[str]) -> None:
    sizes = sorted(set(table["train_size"]))
    ax.axvline(0, color="0.4", linewidth=0.8)
    for i, size in enumerate(sizes):
        part = table[table["train_size"] == size]
        y = [baselines.index(b) + (i - (len(sizes) - 1) / 2) * 0.25 for b in part["baseline"]]
        low, high = (part[c].fillna(part[f"image_{c}"]).fillna(part["difference"]) for c in ("low", "high"))
        ax.hlines(y, np.asarray(low), np.asarray(high), colors=PALETTE[i % 6], linewidth=0.8)
        faces = [PALETTE[i % 6] if word in DECIDED else "white" for word in part["verdict"]]
        ax.scatter(
            part["difference"], y, s=14, marker=MARKERS[i % 6], c=faces, edgecolors=PALETTE[i % 6], linewidths=0.9,
            zorder=3, label=f"N = {count(size)}",
        )  # fmt: skip
    ax.margins(x=0.15, y=0.1)
