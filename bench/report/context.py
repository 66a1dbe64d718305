"""What an item is drawn from: the plan, the tidy table, arrays, and the numbers that papers print."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.metrics.declare import measurements
from bench.models import windows
from bench.models.families import CONTROLS
from bench.report import literature
from bench.report.items import ITEMS
from bench.report.wording import absent_in_words, shuffles_in_words, signs_in_words
from bench.results import training_state
from bench.results.measures import fit_priors
from bench.results.statistics import Prior
from bench.results.tidy import at, read_tidy
from bench.results.training_state import Word
from bench.suite.config import ItemOptions
from bench.suite.options import HALF_BUDGET
from bench.support import paths, root
from bench.support.errors import BenchError
from bench.support.files import read_json

DEFAULTS = vars(ItemOptions())
COLUMN = {"datasets": "dataset", "models": "model", "train_sizes": "train_size"}
# words of runs -> sign behind a name or number; a settled run has none
MARKS = {
    training_state.NOT_FITTED: " ✗",
    training_state.STILL_LEARNING: " ↗",
    training_state.OVERFITTED: " ↘",
}
RUN = training_state.RUN


class _Stored(NamedTuple):
    """A tidy table without half-budget runs, the word of each cell, and of each run with its reason."""

    table: pd.DataFrame
    cells: dict[tuple[str, str, int], str]
    runs: dict[tuple, Word]


@functools.lru_cache(maxsize=2)
def _read_table(path: Path, changed: int) -> _Stored:
    """Read a tidy table and its words once for all items of a process; ``changed`` tells newer files apart.

    Half-budget runs only serve the words.
    """
    table = read_tidy(path)
    runs = training_state.words(table)
    cells = {cell: word.word for cell, word in training_state.by_cell(runs).items()}
    return _Stored(table[~table["recipe"].str.endswith(HALF_BUDGET)], cells, runs)


def run_key(run: dict) -> tuple:
    """Return the values of ``RUN`` of a run of the plan."""
    return (run["dataset"], run["model"]["name"], run["train_size"], run["shuffle"], run["recipe"])


@dataclass
class Context:
    """One item of one suite. ``inputs`` collects the files that were read, ``marked`` the words that were shown.

    ``about`` are the models that the item is about if it does not show all: no others are missing from it.

    Measurements come from ``results/SUITE``, or from ``results/baselines/SUITE`` if the suite was never run here.
    """

    suite: str
    item: str
    inputs: list[Path] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)
    about: set[str] = field(default_factory=set)

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
    def _stored(self) -> _Stored:
        path = self._read(paths.stored_table(self.suite))
        if not path.exists():
            raise BenchError(
                f"{path} does not exist: the suite is not measured; `snakemake --cores 2 {path} --config "
                f"suite={self.suite}` makes it."
            )
        return _read_table(path.resolve(), path.stat().st_mtime_ns)

    @property
    def table(self) -> pd.DataFrame:
        """The whole tidy table."""
        return self._stored.table

    @cached_property
    def tidy(self) -> pd.DataFrame:
        """The tidy table, restricted to what the item shows."""
        table = self.table
        for key, column in COLUMN.items():
            if self.options[key] is not None:
                table = table[table[column].isin(self.options[key])]
        return table

    @cached_property
    def options(self) -> dict:
        """What the item shows: as the suite lists it, else all that the suite has."""
        return DEFAULTS | self.plan["items"].get(self.item, {})

    def rows(self, metric: str, recipe: str | None = "", **where: object) -> pd.DataFrame:
        """Return the rows of a metric; raises BenchError naming what is missing if there are none."""
        where |= {} if recipe is None else {"recipe": recipe}
        table = at(self.tidy, metric=metric, **where)
        if not len(table):
            scope = ", ".join(f"{k} = {v}" for k, v in where.items() if v != "") or "this suite"
            named = (name for name, one in measurements().items() if metric in one.rows and one.options)
            raise self.needs(f"{metric} ({scope})", next(named, ""))
        return table

    def has(self, metric: str) -> bool:
        """Whether the item has rows of a metric."""
        return bool((self.tidy["metric"] == metric).any())

    @property
    def distance(self) -> str:
        """The distance of samples that the suite measured: ``fid``, else ``frechet``."""
        return "fid" if self.has("fid") else "frechet"

    def needs(self, what: str, measure: str = "", instead: str = "") -> BenchError:
        """Return the error that names what an item lacks, and how to get it."""
        how = f"set `measure: {{{measure}: ...}}`" if measure else instead
        how = "" if self.missing(ITEMS[self.item].measures[0]) else how  # the suite plans it
        first = f"{how} in the suite's file and run" if how else "run"
        return BenchError(
            f"{self.item} of suite {self.suite!r} needs {what}, which the tidy table lacks; "
            f"{first} `snakemake --cores 2 all --config suite={self.suite}`."
        )

    def ordered(self, table: pd.DataFrame, column: str) -> list:
        """Return the values of a column in the order of the item's options, else of the plan."""
        present, plural = set(table[column]), f"{column}s"
        default = sorted(present) if column == "train_size" else list(self.plan[plural])
        return [value for value in self.options[plural] or default if value in present]

    def sizes(self, table: pd.DataFrame, most: int) -> list[int]:
        """Return the listed N; where none are listed at most ``most``, the smallest and the largest among them."""
        found = self.ordered(table, "train_size")
        if self.options["train_sizes"] or len(found) <= most:
            return found
        return [found[place] for place in np.linspace(0, len(found) - 1, most).round().astype(int)]

    def groups(self, table: pd.DataFrame, *columns: str) -> Iterator[tuple]:
        """Yield (value of each column, ..., its rows) for every combination in the table, as :meth:`ordered` has them."""
        if not columns:
            yield (table,)
            return
        for value in self.ordered(table, columns[0]):
            for group in self.groups(table[table[columns[0]] == value], *columns[1:]):
                yield value, *group

    def _name(self, text: str, key: str) -> str:
        """Return a name as the item can show it: figures are bound to one font, tables are not."""
        if not self.item.startswith("fig"):
            return text
        from bench.report.style import drawable

        return drawable(text, key)

    def label(self, model: str) -> str:
        """Return a model's name for readers."""
        return self._name(self.plan["models"][model]["label"], model)

    def named(self, model: str) -> str:
        """Return a model's name for tables, which say of a control that it is one."""
        return self.label(model) + " (control)" * self.is_control(model)

    def title(self, dataset: str) -> str:
        """Return a dataset's name for readers."""
        return self._name(self.plan["datasets"][dataset]["title"] or dataset, dataset)

    def variant(self, model: str) -> str:
        """Return what tells a model from its baseline, for legends: "w/ Local", else its label."""
        return self._name(self.plan["models"][model]["variant"] or self.label(model), model)

    def role(self, model: str) -> str:
        """Return what a preset is there for ("local"), else what tells it from its baseline; empty for a baseline."""
        info = self.plan["models"][model]
        return info["role"] or info["variant"] or ""

    def windows(self, model: str) -> str:
        """Return a model's attention windows in words, "windows 3,3,5 in layers 1-3 of 6"; empty if it has none."""
        info = self.plan["models"][model]
        return windows.describe(info["family"], info["options"])

    def windows_of(self, models: Iterable[str]) -> str:
        """Return a sentence with the windows and layers of every model that has some; empty if none has."""
        models = [model for model in dict.fromkeys(models) if model and self.windows(model)]
        found = (f"{self.variant(model)}, {self.windows(model).removeprefix('windows ')}" for model in models)
        return f" Windows: {'; '.join(found)}." if models else ""

    @property
    def words(self) -> dict[tuple[str, str, int], str]:
        """(dataset, model, N) -> the worst word of its runs, empty if they have none."""
        return self._stored.cells

    @cached_property
    def priors(self) -> dict[str, dict[int, Prior]]:
        """What the variance of a paired difference is like, by metric and N, estimated on the whole table."""
        return {key.partition(":")[0]: sizes for key, sizes in fit_priors(self.table).items()}

    def word(self, run: dict) -> Word | None:
        """Return the word of a run of the plan with its reason; None for a control, or where it was not measured."""
        return self._stored.runs.get(run_key(run))

    def _word(self, model: str, dataset: str, size: int, recipe: str) -> str:
        if not recipe:
            return self.words.get((dataset, model, int(size)), "")
        found = training_state.by_cell(self._stored.runs, recipe).get((dataset, model, int(size)))
        return found.word if found else ""

    def ranked(self, model: str, dataset: str, size: int, recipe: str = "") -> bool:
        """Whether a network takes part in rankings: one that is not fitted or still learning does not."""
        return training_state.is_ranked(self._word(model, dataset, size, recipe))

    def mark(self, model: str, dataset: str, size: int, recipe: str = "") -> str:
        """Return the sign of the word of a cell's runs; empty if they are settled or have none."""
        word = self._word(model, dataset, size, recipe)
        self.marked |= {word} & {*MARKS}
        return MARKS.get(word, "")

    def marks(self, model: str, dataset: str, sizes: Iterable[int]) -> str:
        """Return the signs of a model's cells on a line of their own, "\\n↘ N = 10\\n✗ N = 100, 1,000"; empty without."""
        return signs_in_words({int(n): self.mark(model, dataset, int(n)).strip() for n in sizes})

    def is_control(self, model: str) -> bool:
        """Whether a model is a closed form that is not trained."""
        return self.plan["models"][model]["family"] in CONTROLS

    def networks(self, table: pd.DataFrame) -> list[str]:
        """Return the trained models of a table, in order; all of them where it has controls only."""
        models = self.ordered(table, "model")
        return [model for model in models if not self.is_control(model)] or models

    def control(self, metric: str, family: str, **where: object) -> pd.DataFrame:
        """Return a control's rows of a metric from the whole table, whatever models the item lists; maybe none."""
        names = [m for m, info in self.plan["models"].items() if info["family"] == family][:1]
        return at(self.table[self.table["model"].isin(names)], metric=metric, **({"recipe": ""} | where))

    def main_windows(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the pairs of a baseline and its main windows; all where there is no such, or the item lists models."""
        return [p for p in pairs if self.options["models"] or self.role(p[1]) == "local"] or pairs

    def pairs(self, table: pd.DataFrame, local: bool = False) -> list[tuple[str, str]]:
        """Return (baseline, variant) of every variant whose baseline is in the table too.

        ``local``: of those with windows; where the item lists no models, of the main one of each baseline alone, as
        placements and window sizes have items of their own.
        """
        present, models = set(table["model"]), self.plan["models"]
        planned = [(models[m]["baseline"], m) for m in models if models[m]["baseline"] in models]
        if local:
            planned = self.main_windows([pair for pair in planned if self.role(pair[1]).startswith("local")])
            self.about = {model for pair in planned for model in pair}
        found = [pair for pair in planned if {*pair} <= present]
        if not found:
            kind = "a model with attention windows" if local else "a model"
            how = "add, for instance, dit-t16-local and dit-t16 under `runs`"
            raise self.needs(f"{kind} and its baseline (`baseline:` in models.yaml)", instead=how)
        return found

    @staticmethod
    def paired(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
        """Return the rows of two models at the shuffles that both have: the same images and noise on both sides."""
        both = table[table["model"].isin(pair)]
        return both[
            both.groupby(["dataset", "train_size", "recipe", "shuffle"])["model"].transform("nunique") == 2
        ]

    def runs(self, metric: str) -> pd.DataFrame:
        """Return dataset, model, train_size, shuffle of the runs that have a metric, first shuffle only."""
        keys = ["dataset", "model", "train_size"]
        return self.rows(metric).sort_values("shuffle").drop_duplicates(keys)[[*keys, "shuffle"]]

    def pictured(self, runs: pd.DataFrame) -> tuple[str, list[str]]:
        """Return the first dataset of ``runs`` whose pictures may be shown, else the first; and those passed over."""
        datasets = self.ordered(runs, "dataset")
        may = [d for d in datasets if not self.from_baseline or self.plan["datasets"][d]["redistribute"]]
        shown = (may or datasets)[0]
        return shown, datasets[: datasets.index(shown)]

    def arrays(self, stem: str, dataset: str, model: str, size: int, shuffle: int) -> dict[str, np.ndarray]:
        """Return the arrays of one run; none if its images may not be stored (``redistribute: false``)."""
        path = paths.stored_run(self.suite, f"{dataset}.{model}.n{size}.s{shuffle}") / f"{stem}.npz"
        if self.from_baseline and not path.exists() and not self.plan["datasets"][dataset]["redistribute"]:
            return {}
        try:
            with np.load(self._read(path), allow_pickle=False) as file:
                return dict(file)
        except OSError as error:
            raise BenchError(
                f"{path} is missing; make it with `snakemake --cores 2 {path} --config suite={self.suite}`."
            ) from error

    def missing(self, measure: str) -> str:
        """Return a sentence on the planned runs of the item that were not measured; empty if there are none."""
        metrics = measurements()[measure].rows if measure in measurements() else ()
        # samples have no row of their own: a run is measured whole
        rows = self.tidy[self.tidy["metric"].isin(metrics)] if metrics else self.tidy
        found = set(rows[RUN].drop_duplicates().itertuples(index=False, name=None))
        planned = [*self.plan["runs"], *self.plan.get("unmeasured", [])]  # of a baseline stored in part
        wanted = [run for run in planned if run["measure"].get(measure) is not None and self.wanted(run)]
        lacking = [run for run in wanted if run_key(run) not in found]
        if not lacking:
            return ""
        shown, several = {key[:3] for key in found}, len({run["dataset"] for run in wanted}) > 1
        sizes: dict[str, set[int]] = {}
        for dataset, model, n, *_ in map(run_key, lacking):
            if (dataset, model, n) not in shown:
                where = f"{self.title(dataset)}, " if several else ""
                sizes.setdefault(where + self.label(model), set()).add(n)
        more = sum(run_key(run)[:3] in shown for run in lacking)
        return f" Not measured yet: {len(lacking)} of {len(wanted)} planned runs ({absent_in_words(sizes, more)})."

    def wanted(self, run: dict) -> bool:
        """Whether the item shows this run of the plan."""
        name, half = run["model"]["name"], run["recipe"].endswith(HALF_BUDGET)
        values = {"datasets": run["dataset"], "models": name, "train_sizes": run["train_size"]}
        asked = all(self.options[key] is None or value in self.options[key] for key, value in values.items())
        return asked and not half and (not self.about or name in self.about)

    def printed(self, table: str, **where: object) -> pd.DataFrame:
        """Return the numbers that the item's own paper prints in ``table``, say "Figure 6", rows of ``PRINTED``."""
        paper = ITEMS[self.item].paper
        rows = literature.printed(paper)
        rows = at(rows[[table in names.split("; ") for names in rows["table"]]], **where)
        if len(rows):
            self._read(Path(os.path.relpath(literature.file_of(paper))))
        return rows

    def print_of(self, rows: pd.DataFrame, model: str, dataset: str, size: int, recipe: str = "") -> float:
        """Return the value that ``rows`` of :meth:`printed` have for a preset, NaN if there is none."""
        root = rows["baseline"].where(rows["baseline"] != "", rows["model"])
        same = rows[root == self.label(self.plan["models"][model]["baseline"] or model)]
        same = at(same, role=self.role(model), dataset=self.title(dataset))
        found = at(same, train_size=size, recipe=recipe)["value"]
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
        """A sentence on the runs: steps, averaging, and whether they are stored ones."""
        runs = [run["training"] for run in self.plan["runs"] if not run["recipe"]]
        steps, ema = (sorted({run[key] for run in runs}) for key in ("steps", "ema"))
        stored = f" Drawn from the stored baseline {self.folder}." if self.from_baseline else ""
        return (
            f"Suite {self.suite}: {', '.join(f'{s:,}' for s in steps)} training steps, "
            f"EMA {', '.join(map(str, ema))}.{stored}"
        )

    def shuffles(self, table: pd.DataFrame) -> str:
        """Return the number of shuffles in a table, in words."""
        return shuffles_in_words(table.groupby([*RUN[:3], "recipe"])["shuffle"].nunique())
