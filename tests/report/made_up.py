"""A project's own suite with made-up rows for every planned run, in the current folder."""

from __future__ import annotations

import pandas as pd

from bench.results.tidy import COLUMNS, METRICS
from bench.suite import plan
from bench.support import paths


def write(suite, rows_of):
    """Write plan and tidy table; ``rows_of(run)`` gives (metric, split, index_name, index) -> value."""
    loaded, records = plan.load(suite), []
    loaded.write()
    for run in loaded.runs.values():
        same = {key: getattr(run, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
        for (metric, split, index_name, index), value in rows_of(run).items():
            records.append(same | {
                "model": run.model.name, "metric": metric, "value": value, "unit": METRICS[metric].unit, "index": index,
                "index_name": index_name, "split": split, "protocol": "", "code": "c", "data_hash": "d",
            })  # fmt: skip
    table = pd.DataFrame(records)[COLUMNS].astype({"index": "Int64"})
    table.to_csv(paths.tidy_file(suite), index=False)
    return loaded
