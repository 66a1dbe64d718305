"""The figures and tables that a suite can ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """``kind`` is figure or table; ``module`` holds ``draw`` or ``build``; ``arrays`` are the metrics whose
    ``.npz`` it reads beside the tidy table."""

    kind: str
    title: str
    module: str
    arrays: tuple[str, ...] = ()


ITEMS = {
    "fig2": Item("figure", "Figure 2", "bench.report.figures.fig2"),
    "fig3": Item("figure", "Figure 3", "bench.report.figures.fig3", ("jacobian",)),
    "fig4": Item("figure", "Figure 4", "bench.report.figures.fig4", ("attention",)),
    "fig6": Item("figure", "Figure 6", "bench.report.figures.fig6"),
    "tab1": Item("table", "Table 1", "bench.report.tables.tab1"),
}
