"""Table A2: what else can be said of samples than one distance: other distances, spaces, and pools of each run."""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.curves import field
from bench.report.items import Item
from bench.report.protocols import protocol_in_words
from bench.report.table import Table

ITEM = Item(
    title="Table A2",
    subject="Measures of samples beside one distance",
    measures=("frechet", "memorization"),
)

NAMES = {
    "fid": "FID", "kid": "KID (×1000)", "frechet": "Fréchet", "kernel_distance": "Kernel (×1000)",
    "nearest_distance": "RMS distance to nearest training image",
    "nearest_ratio": "Nearest / second", "memorized_share": "Copies (%)",
}  # fmt: skip
PIXELS = {"nearest_distance": "pixels of [0, 1]"}  # where the scale of pixels matters
UNITS = {"kid": 1e-3, "kernel_distance": 1e-3, "memorized_share": 1e-2}
KEYS = ["dataset", "train_size", "model"]


def build(context: Context) -> Table:
    """Build a row for each dataset, N and model, a column for each measure and feature space of its samples.

    Raises BenchError where the suite has a single measure of samples.
    """
    rows = context.tidy[
        context.tidy["metric"].isin(NAMES) & (context.tidy["split"] == "") & (context.tidy["recipe"] == "")
    ]
    space = field(rows, "space").fillna(field(rows, "features")).fillna("")
    rows = rows.assign(space=space)
    kinds = sorted(
        rows[["metric", "space"]].drop_duplicates().itertuples(index=False, name=None),
        key=lambda kind: (list(NAMES).index(kind[0]), kind[1]),
    )
    if len({metric for metric, _ in kinds}) < 2:
        raise context.needs(
            "two measures of samples or more, say memorized_share beside frechet", "memorization"
        )
    wide = rows.pivot_table(index=KEYS, columns=["metric", "space"], values="value", sort=False)
    order = {m: i for i, m in enumerate(context.ordered(rows, "model"))}
    places = {d: i for i, d in enumerate(context.ordered(rows, "dataset"))}
    wide = wide.loc[sorted(wide.index, key=lambda key: (places[key[0]], key[1], order[key[2]]))]
    cells = [
        [
            context.title(key[0]),
            context.label(key[2]),
            f"{key[1]:,}",
            *(_text(wide.at[key, k], k[0]) for k in kinds),
        ]
        for key in wide.index
    ]
    heads = [f"{NAMES[m]}, {PIXELS.get(m, s) if s == 'pixels' else s}" if s else NAMES[m] for m, s in kinds]
    frame = pd.DataFrame(cells, columns=["Dataset", "Model", "N", *heads])
    numbers = wide[kinds].reset_index()
    numbers.columns = [*KEYS, *("_".join(part for part in kind if part) for kind in kinds)]
    every = set(rows["protocol"])
    longest = sorted(p for p in every if not any(o != p and o.startswith(p) for o in every))
    return Table(frame, numbers, _caption(context, rows, longest))


def _text(value: float, metric: str) -> str:
    return "" if pd.isna(value) else f"{value / UNITS.get(metric, 1):.3g}"


def _caption(context: Context, rows: pd.DataFrame, protocols: list[str]) -> str:
    return (
        "Measures of samples beside one distance. Distances (lower is nearer to the train pool) see quality and copying "
        "alike: a network that copies has a low one. The nearest training image tells the two apart: copies have a small "
        "nearest distance and a small ratio to the second nearest. "
        f"{context.shuffles(rows)}. {'; '.join(map(protocol_in_words, protocols[:6]))}. {context.scope}"
    )
