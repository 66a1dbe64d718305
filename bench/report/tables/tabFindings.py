"""Findings: the questions of the papers, and what this suite answers.

Each answer is one test of the difference, averaged over N and models inside each dataset and shuffle, with Holm's
correction over the questions of a paper. "Cannot tell" is not "no": the column "Could be shown" gives the smallest
difference that this test alone could have shown.
"""

from __future__ import annotations

from collections import Counter

import pandas as pd

from bench.report import findings, literature
from bench.report.context import Context
from bench.report.findings import Finding
from bench.report.items import ITEMS, Item
from bench.report.table import Table
from bench.support.errors import BenchError

NAMED = 3  # questions that were not measured
ITEM = Item("Findings", measures=("every",), papers="*", group="Findings")


def build(context: Context) -> Table:
    """Build a row for each question that the suite has measurements for."""
    found = [one for one in findings.answers(context) if one.verdict.cells]
    if not found:
        raise BenchError(f"Suite {context.suite!r} has no measurements for any question in config/papers.")
    cells = [
        {
            "Question": one.question.question,
            "Answer": one.answer,
            "Difference [95 % interval]": one.verdict.interval(),
            "Could be shown": one.could_be_shown(),
            "Pairs": one.verdict.pairs,
            "See": ITEMS[one.question.item].title if one.question.item else "",
        }
        for one in found
        if one.verdict.pooled
    ]
    return Table(pd.DataFrame(cells), numbers(found), _caption(context, found))


def numbers(found: list[Finding]) -> pd.DataFrame:
    """Return one row per question; differences of logarithms if ``scale`` is ratio."""
    asked = findings.load()
    return pd.DataFrame(
        {
            "paper": one.paper,
            "finding": one.key,
            "question": one.question.question,
            "answer": one.answer,
            "mean": one.verdict.pooled.mean,
            "low": one.verdict.pooled.low,
            "high": one.verdict.pooled.high,
            "could_be_shown": one.could_be_shown(),
            "pairs": one.verdict.pairs,
            "scale": "ratio" if one.verdict.ratio else "difference",
            "difference": one.verdict.difference(),
            "item": one.question.item,
            "unlike": "; ".join(filter(None, (asked[one.paper].unlike, one.question.unlike))),
        }
        for one in found
        if one.verdict.pooled
    )


def _caption(context: Context, found: list[Finding]) -> str:
    counts = Counter(one.answer for one in found)
    words = ", ".join(f"{count} {answer}" for answer, count in counts.items())
    cite = literature.papers()
    papers = " and ".join(cite[paper].cite for paper in dict.fromkeys(one.paper for one in found))
    answered, files = {one.key for one in found}, findings.load()
    left = [
        one.question
        for paper in dict.fromkeys(one.paper for one in found)
        for key, one in files[paper].questions.items()
        if key not in answered
    ]
    count = f"{len(found)} of {len(found) + len(left)}" if left else f"{len(found)}"
    questions = f"{count} question{'s' * (len(found) + len(left) > 1)} of {papers}"
    more = f" And {len(left) - NAMED} more." if len(left) > NAMED else ""
    lacking = f" Not measured: {' '.join(left[:NAMED])}{more}" if left else ""
    return (
        f"{questions}, answered by suite {context.suite}: {words}.{lacking} Could be shown: the smallest difference that "
        "this test alone could have shown. Pairs: of a dataset and a shuffle, each one replicate of the test."
    )
