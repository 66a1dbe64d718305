"""What an item is drawn from: the plan, the tidy table, arrays, and the numbers that papers print."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bench.metrics.declare import measurements
from bench.report import literature
from bench.report.items import ITEMS
from bench.results.tidy import read_tidy
from bench.support import paths, root
from bench.support.errors import BenchError
from bench.support.files import read_json

DEFAULTS = {
    "datasets": None,
    "models": None,
    "train_sizes": None,
    "operator": "x0",
}  # of bench.suite.config.ItemOptions
# metric -> the measurement that gives it
MEASURED_BY = {metric: name for name, one in measurements().items() for metric in one.rows}


@dataclass
class Context:
    """One item of one suite. ``inputs`` collects the files that were read, for the sidecar.

    Measurements come from ``results/SUITE``, or from ``results/baselines/SUITE`` where the suite was never run here.
    """

    suite: str
    item: str
    inputs: list[Path] = field(default_factory=list)

    def _read(self, path: Path) -> Path:
        self.inputs.append(path)
        return path

    @cached_property
    def folder(self) -> Path:
        """The folder that the measurements are read from."""
        return paths.stored_folder(self.suite)

    @property
    def from_baseline(self) -> bool:
        """Whether the measurements are stored ones, not made here."""
        return self.folder == paths.baselines_folder(self.suite)

    @cached_property
    def plan(self) -> dict:
        """``plan.json`` of the suite, or of its baseline."""
        path = self.folder / "plan.json"
        if not path.exists():
            raise BenchError(
                f"Suite {self.suite!r} was not measured here and has no stored baseline; "
                f"run `snakemake --cores 2 all --config suite={self.suite}`.{root.elsewhere()}"
            )
        return read_json(self._read(path))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The whole tidy table."""
        return read_tidy(self._read(paths.stored_table(self.suite)))

    @cached_property
    def tidy(self) -> pd.DataFrame:
        """The tidy table, restricted to what the item shows."""
        table = self.table
        for key, column in (("datasets", "dataset"), ("models", "model"), ("train_sizes", "train_size")):
            if (wanted := self.options[key]) is not None:
                table = table[table[column].isin(wanted)]
        return table

    @cached_property
    def options(self) -> dict:
        """What the item shows: as the suite lists it, else all that the suite has."""
        return DEFAULTS | self.plan["items"].get(self.item, {})

    def rows(self, metric: str, recipe: str | None = "", **where: object) -> pd.DataFrame:
        """Return the rows of a metric; raises BenchError naming what is missing where there are none."""
        table = self.tidy[self.tidy["metric"] == metric]
        if recipe is not None:
            table = table[table["recipe"] == recipe]
        for column, value in where.items():
            table = table[table[column] == value]
        if not len(table):
            scope = ", ".join(f"{k} = {v}" for k, v in where.items()) or "this suite"
            raise self.needs(f"{metric} ({scope})", MEASURED_BY.get(metric, ""))
        return table

    def needs(self, what: str, measure: str = "", instead: str = "") -> BenchError:
        """Return the error that names the rows an item lacks, and the command that makes them."""
        how = f"set `measure: {{{measure}: ...}}`" if measure and measure != "cost" else instead
        where = f"config/suites/{self.suite}.yaml"
        first = f"{how} in {where} and run" if how else "run"
        return BenchError(
            f"{self.item} of suite {self.suite!r} needs {what} and the tidy table has none; "
            f"{first} `snakemake --cores 2 all --config suite={self.suite}`."
        )

    def ordered(self, table: pd.DataFrame, column: str) -> list:
        """Return the values of a column in the order of the item's options, else of the plan."""
        present = set(table[column])
        plural = {"dataset": "datasets", "model": "models", "train_size": "train_sizes"}[column]
        order = self.options[plural] or (
            sorted(present) if column == "train_size" else list(self.plan[plural])
        )
        return [value for value in order if value in present]

    def label(self, model: str) -> str:
        """Return a model's name for readers."""
        return self.plan["models"][model]["label"]

    def role(self, model: str) -> str:
        """Return what a preset is there for ("local"), else what differs from its baseline; empty for a baseline."""
        info = self.plan["models"][model]
        text = info.get("role") or info["variant"] or ""
        return {"w/ Local": "local"}.get(text, text)  # baselines stored before presets had roles

    def title(self, dataset: str) -> str:
        """Return a dataset's name for readers."""
        return self.plan["datasets"][dataset]["title"]

    def pairs(self, table: pd.DataFrame, local: bool = False) -> list[tuple[str, str]]:
        """Return (baseline, variant) of every variant, or every one with windows, whose baseline is in the table."""
        present = set(table["model"])
        models = {m: self.plan["models"][m]["baseline"] for m in self.plan["models"] if m in present}
        found = [
            (baseline, model)
            for model, baseline in models.items()
            if baseline in present and ("Local" in (self.plan["models"][model]["variant"] or "") or not local)
        ]
        if not found:
            kind = "a model with attention windows" if local else "a model"
            raise BenchError(
                f"{self.item} of suite {self.suite!r} needs {kind} and its baseline (`baseline:` in models.yaml), say "
                f"dit-t16-local and dit-t16; add both under `runs` in config/suites/{self.suite}.yaml."
            )
        return found

    @staticmethod
    def paired(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
        """Return the rows of two models at the shuffles that both have: the same images and noise on both sides."""
        both = table[table["model"].isin(pair)]
        found = both.groupby(["dataset", "train_size", "recipe", "shuffle"])["model"].transform("nunique")
        return both[found == 2]

    def runs(self, metric: str) -> pd.DataFrame:
        """Return dataset, model, train_size, shuffle of the runs that have a metric, first shuffle only."""
        keys = ["dataset", "model", "train_size"]
        return self.rows(metric).sort_values("shuffle").drop_duplicates(keys)[[*keys, "shuffle"]]

    def arrays(
        self, metric: str, dataset: str, model: str, train_size: int, shuffle: int
    ) -> dict[str, np.ndarray]:
        """Return the arrays of one run; none where its images may not be stored (``redistribute: false``)."""
        run = f"{dataset}.{model}.n{train_size}.s{shuffle}"
        path = paths.stored_run(self.suite, run) / f"{metric}.npz"
        if self.from_baseline and not path.exists() and not self.plan["datasets"][dataset]["redistribute"]:
            return {}
        try:
            with np.load(self._read(path), allow_pickle=False) as file:
                return dict(file)
        except OSError as error:
            raise BenchError(f"{path} is missing; make it with `snakemake --cores 2 {path}`.") from error

    def missing(self, measure: str) -> str:
        """Return a sentence on the planned runs of the item that were not measured; empty where there are none."""
        rows = self.tidy[self.tidy["metric"].map(MEASURED_BY) == measure]
        keys = ["dataset", "model", "train_size", "shuffle", "recipe"]
        found = set(rows[keys].drop_duplicates().itertuples(index=False, name=None))
        lacking = [
            run["name"]
            for run in self.plan["runs"]
            if run["measure"].get(measure) is not None and self.wanted(run)
            and (run["dataset"], run["model"]["name"], run["train_size"], run["shuffle"], run["recipe"]) not in found
        ]  # fmt: skip
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        return f" Not measured yet: {', '.join(lacking[:5])}{more}." if lacking else ""

    def wanted(self, run: dict) -> bool:
        """Whether the item shows this run of the plan."""
        values = (
            ("datasets", run["dataset"]),
            ("models", run["model"]["name"]),
            ("train_sizes", run["train_size"]),
        )
        return all(self.options[key] is None or value in self.options[key] for key, value in values)

    def printed(self, table: str) -> pd.DataFrame:
        """Return the numbers that the item's own paper prints in ``table``, say "Figure 6", rows of ``PRINTED``."""
        paper = ITEMS[self.item].paper
        rows = literature.printed(paper)
        rows = rows[[table in names.split("; ") for names in rows["table"]]]
        if len(rows):
            self._read(Path(os.path.relpath(literature.file_of(paper))))
        return rows

    def print_of(self, rows: pd.DataFrame, model: str, dataset: str, size: int, recipe: str = "") -> float:
        """Return the value that ``rows`` of :meth:`printed` have for a preset, NaN where there is none."""
        root = rows["baseline"].where(rows["baseline"] != "", rows["model"])
        same = (root == self.label(self.plan["models"][model]["baseline"] or model)) & (
            rows["role"] == self.role(model)
        )
        same &= (rows["dataset"] == self.title(dataset)) & (rows["train_size"] == size)
        found = rows.loc[same & (rows["recipe"] == recipe), "value"]
        return float(found.iloc[0]) if len(found) else math.nan

    def stale(self, measures: tuple[str, ...]) -> str:
        """Return a sentence for the caption where stored measurements are out of date; '' for those made here."""
        if not self.from_baseline or not measures:
            return ""
        from bench.results import staleness

        shown = {run["name"] for run in self.plan["runs"] if self.wanted(run)}
        return staleness.note(self.suite, shown, measures)

    @property
    def scope(self) -> str:
        """Return one sentence on the runs: steps, shuffles, EMA."""
        runs = [run for run in self.plan["runs"] if not run["recipe"]]
        steps = sorted({run["training"]["steps"] for run in runs})
        ema = sorted({run["training"]["ema"] for run in runs})
        stored = f" Drawn from the stored baseline {self.folder}." if self.from_baseline else ""
        return (
            f"Suite {self.suite}: {', '.join(f'{s:,}' for s in steps)} training steps, "
            f"EMA {', '.join(map(str, ema))}.{stored}"
        )

    def shuffles(self, table: pd.DataFrame) -> str:
        """Return how many shuffles stand behind a table, in words."""
        return shuffles_in_words(
            table.groupby(["dataset", "model", "train_size", "recipe"])["shuffle"].nunique()
        )


def shuffles_in_words(counts: Iterable[int]) -> str:
    """Return "3 shuffles" or "1 to 3 shuffles"."""
    low, high = min(counts := [int(count) for count in counts]), max(counts)
    return f"{low if low == high else f'{low} to {high}'} shuffle{'s' if high > 1 else ''}"
