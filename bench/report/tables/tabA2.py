"""Measures of samples beside one distance.

Distances do not separate quality from copying: a network that copies has a low one. The nearest training image does:
copies have a small distance to it, and a small ratio of that to the second nearest.
"""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.report.wording import protocol_in_words
from bench.results.tidy import at, in_pixels, protocol_field

ITEM = Item("Table A2", measures=("frechet", "memorization"))
NAMES = {
    "fid": "FID ↓", "kid": "KID (×1000) ↓", "frechet": "Fréchet ↓", "kernel_distance": "Kernel (×1000) ↓",
    "nearest_distance": "RMS distance to nearest training image", "nearest_ratio": "Nearest / second",
    "memorized_share": "Copies (%)",
}  # fmt: skip
PIXELS = {"nearest_distance": "pixels of 0 to 1"}  # where the scale of pixels matters
UNITS = {"kid": 1e-3, "kernel_distance": 1e-3, "memorized_share": 1e-2}
KEYS = ["dataset", "train_size", "model"]


def build(context: Context) -> Table:
    """Build a row for each dataset, N and model, a column for each measure and feature space of its samples.

    Raises BenchError if the suite has a single measure of samples.
    """
    tidy = context.tidy
    rows = tidy[tidy["metric"].isin(NAMES) & (tidy["split"] == "") & (tidy["recipe"] == "")]
    rows = rows.assign(
        space=protocol_field(rows, "space").fillna(protocol_field(rows, "features")).fillna("")
    )
    kinds = rows[["metric", "space"]].drop_duplicates().itertuples(index=False, name=None)
    kinds = sorted(kinds, key=lambda kind: (list(NAMES).index(kind[0]), kind[1]))
    if len({metric for metric, _ in kinds}) < 2:
        raise context.needs(
            "two measures of samples or more, say memorized_share beside frechet", "memorization"
        )
    wide = rows.pivot_table(index=KEYS, columns=["metric", "space"], values="value", sort=False)
    wide = wide.loc[[tuple(cell) for *cell, _ in context.groups(rows, *KEYS)]]
    cells = [
        [
            context.title(d),
            f"{n:,}",
            context.named(m) + context.mark(m, d, n),
            *(_text(wide.at[(d, n, m), k], k) for k in kinds),
        ]
        for d, n, m in wide.index
    ]
    heads = [f"{NAMES[m]}, {PIXELS.get(m, s) if s == 'pixels' else s}" if s else NAMES[m] for m, s in kinds]
    numbers = wide[kinds].reset_index()
    numbers.columns = [*KEYS, *("_".join(part for part in kind if part) for kind in kinds)]
    every = {*rows["protocol"]}
    longest = sorted(p for p in every if not any(o != p and o.startswith(p) for o in every))
    caption = (
        f"Measures of samples beside one distance; {context.shuffles(rows)}. {_finding(context, rows)}"
        f"{'; '.join(map(protocol_in_words, longest[:6]))}."
    )
    return Table(pd.DataFrame(cells, columns=["Dataset", "N", "Model", *heads]), numbers, caption, groups=2)


def _text(value: float, kind: tuple[str, str]) -> str:
    return "" if pd.isna(value) else f"{value / UNITS.get(kind[0], 1):.3g}"


def _finding(context: Context, rows: pd.DataFrame) -> str:
    """Return which trained network copies most."""
    copies = in_pixels(at(rows, metric="memorized_share"))
    copies = copies[copies["model"].isin(context.networks(rows))]
    if not len(copies):
        return ""
    share = copies.groupby(KEYS)["value"].mean()
    dataset, size, model = share.idxmax()
    where = f"{context.label(model)} on {context.title(dataset)} at N = {size:,}"
    return (
        f"Largest share of copies of a network, in pixels: {100 * share.max():.1f} %, {where}. "
        if share.max()
        else "No network copies in pixels. "
    )
