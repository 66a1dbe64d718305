"""A comparison as readers see it: verdicts in words, what the networks cost, every cell, the picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.compare.compare import UNPROVEN, Comparison, compare
from bench.compare.costs import readable
from bench.compare.gather import Evidence, gather
from bench.report.markup import markdown, markdown_table
from bench.report.table import Table
from bench.results.measures import Measure
from bench.results.statistics import NO_DIFFERENCE
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.files import write_text


def write(suite: Plan) -> Path:
    """Compare and write ``results/SUITE/compare/NAME.{csv,md,tex}`` and the figure; return the tables' stem."""
    from bench.compare.picture import draw
    from bench.report.style import save, sheet

    found = compare(gather(suite))
    stem = paths.compare_stem(suite.suite, found.evidence.candidate)
    cells, costs = tables(found)
    both = pd.concat([found.pooled, found.cells], ignore_index=True)
    write_text(f"{stem}.csv", both.drop(columns="judged").to_csv(index=False))
    write_text(f"{stem}.md", page(found, cells, costs))
    write_text(f"{stem}.tex", cells.latex() + "\n" + costs.latex())
    with sheet():
        save(draw(found), str(paths.compare_figure(suite.suite, found.evidence.candidate)))
    return stem


def page(found: Comparison, cells: Table, costs: Table) -> str:
    """Return the whole page in Markdown: first the pooled answers, then what they are made of."""
    evidence = found.evidence
    parts = [
        f"# {evidence.candidate} against the baselines of suite {evidence.suite.suite}",
        _words(evidence),
        _along(evidence),
        *(f"**{note}**" for note in found.notes),
        f"## Verdicts\n\nOver all datasets and N together: {_count(found.pooled)} (dataset, shuffle) pairs.",
        "\n".join(summary(found)),
        "## Cost and budget",
        costs.markdown(),
        "## Cells",
        cells.markdown(),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def tables(found: Comparison) -> tuple[Table, Table]:
    """Return the table of all cells, and that of what the networks cost."""
    budget = readable(found.costs, found.evidence.label)
    caption = "What the networks cost, and how they were trained."
    return _cells(found), Table(budget, found.costs, caption)


def _words(evidence: Evidence) -> str:
    """Return what the candidate's runs are: settled, still learning, overfitted, not fitted, with the numbers behind it."""
    lines = [
        f"- {evidence.title(dataset)}, N = {size:,}: **{found.word or 'unknown'}** ({found.why})"
        for (dataset, model, size), found in evidence.words.items()
        if model == evidence.candidate
    ]
    return "\n".join([f"## Training state of {evidence.candidate}", "", *lines])


def _along(evidence: Evidence) -> str:
    """Return the PSNR of every network after halves, quarters, ... of its own steps, the candidate first."""
    rows = pd.concat([evidence.new, evidence.old], ignore_index=True)
    rows = rows[(rows["metric"] == "along_psnr_mean") & (rows["recipe"] == "")]
    own = rows[rows["model"] == evidence.candidate]
    if not len(own):
        return ""
    split = "validation" if "validation" in set(own["split"]) else "test"
    rows = rows[(rows["split"] == split) & rows["dataset"].isin(own["dataset"])]
    runs = ["dataset", "train_size", "model"]
    part = (rows.groupby(runs)["index"].transform("max") / rows["index"]).astype(float)
    near = 2 ** np.log2(part).round()
    rows = rows.assign(part=near.astype(int))[abs(part / near - 1) < 0.1]
    wide = rows.pivot_table(index=runs, columns="part", values="value")
    heads = [
        "Dataset",
        "N",
        "Model",
        *(f"1/{one}" if one > 1 else "end" for one in sorted(wide, reverse=True)),
    ]
    order = sorted(wide.index, key=lambda key: (*key[:2], key[2] != evidence.candidate))
    cells = [
        [markdown(evidence.title(dataset)), f"{size:,}", markdown(evidence.label(model))]
        + ["–" if math.isnan(v) else f"{v:.2f}" for v in wide.loc[(dataset, size, model)].iloc[::-1]]
        for dataset, size, model in order
    ]
    how = f"{split.capitalize()} PSNR (dB) after parts of each network's own steps. The stored curves as a figure: "
    how += f"`bench figure figA15 --suite {evidence.suite.suite}`."
    return f"## Along training\n\n{how}\n\n{markdown_table(heads, cells)}"


def summary(found: Comparison) -> list[str]:
    """Return one line for each measure and baseline: the pooled answer, and in how many cells it is the same."""
    evidence, lines = found.evidence, []
    for measure in evidence.measures:
        for row in found.pooled[found.pooled["metric"] == measure.key].itertuples():
            cells = found.cells[
                (found.cells["metric"] == row.metric) & (found.cells["baseline"] == row.baseline)
            ]
            counts = ", ".join(f"{word} in {n}" for word, n in cells["verdict"].value_counts().items())
            name = evidence.label(row.baseline) + (" †" if row.stale else "")
            lines.append(
                f"- {measure.name} against {name}: **{row.verdict}**, {_interval(measure, row)}"
                f"{_shown(measure, row)}; of {len(cells)} cells {counts}."
            )
    return lines


def _interval(measure: Measure, row: Any) -> str:
    """Return a difference with its interval."""
    mean = measure.text(row.difference)
    return mean if math.isnan(row.low) else f"{mean} [{measure.text(row.low)}, {measure.text(row.high)}]"


def _shown(measure: Measure, row: Any) -> str:
    """Return how small a difference could have been shown, where none was."""
    known = row.verdict == NO_DIFFERENCE and not math.isnan(row.shown)
    return f" (one of {measure.text(row.shown, '')} could have been)" if known else ""


def _count(table: pd.DataFrame) -> str:
    low, high = int(table["count"].min()), int(table["count"].max())
    return str(low) if low == high else f"{low} to {high}"


def _cells(found: Comparison) -> Table:
    evidence, table = found.evidence, found.cells
    known = {measure.key: measure for measure in evidence.measures}
    rows = [
        {
            "Dataset": evidence.title(row.dataset),
            "Against": evidence.label(row.baseline) + (" †" if row.stale else ""),
            "N": f"{row.train_size:,}",
            "Measure": known[row.metric].name,
            "Candidate": f"{row.candidate:.4g}",
            "Baseline": f"{row.stored:.4g}",
            "Difference [95 %]": _interval(known[row.metric], row),
            "Over images": "–"
            if math.isnan(row.image_low)
            else f"{known[row.metric].text(row.image_low)} to {known[row.metric].text(row.image_high)}",
            "Verdict": row.verdict + _shown(known[row.metric], row),
        }
        for row in table.itertuples()
    ]
    return Table(pd.DataFrame(rows), table, _caption(found), groups=1)


def _caption(found: Comparison) -> str:
    evidence, cells = found.evidence, found.cells
    margins = "; ".join(
        f"{measure.name} {measure.margin.size:.0%}"
        if measure.is_ratio
        else f"{measure.name} {measure.margin.size:g}"
        for measure in evidence.measures
    )
    return (
        f"{evidence.candidate} minus each stored baseline of suite {evidence.suite.suite}, paired over {_count(cells)} "
        "shuffles of each dataset and N; PSNR gaps and distances as a percentage of the baseline's. Intervals are 95 % "
        "moderated t intervals: the variance of a cell is shrunk towards that of the stored baselines, with the weight "
        "of at most two shuffles. Verdicts are at 5 % after Holm's correction within a measure, separately for networks "
        f"and controls. 'Equal': shown to differ by less than a margin ({margins}); 'no difference shown' is not 'equal'. "
        f"'{UNPROVEN.capitalize()}': a smaller gap is no improvement if the network may simply fit less. The interval "
        "over images (test PSNR) is for these particular networks, says nothing about other seeds, and takes the images of "
        "different shuffles as independent, although some recur; gaps, those at equal train PSNR among them, have the "
        "interval over shuffles alone, which contains the spread over their images."
    )
