"""A suite's measured numbers with readers' names, in the shape of the printed ones."""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.literature import COLUMNS


def measured(context: Context) -> pd.DataFrame:
    """Return the tidy table with :data:`bench.report.literature.COLUMNS`."""
    table, models = context.table, context.plan["models"]
    unknown = pd.Series({name: info["label"] for name, info in models.items()})
    names = table["model"]
    table = table.assign(
        paper="",
        version="",
        label=names.map(unknown).fillna(names),
        family=names.map({name: info["family"] for name, info in models.items()}),
        role=names.map({name: context.role(name) for name in models}),
        root=names.map({name: info["baseline"] or name for name, info in models.items()}),
        dataset=table["dataset"].map(
            {name: info["title"] for name, info in context.plan["datasets"].items()}
        ),
    )
    return table[COLUMNS]
