"""Claims of the papers, tested.

On printed numbers a claim holds or fails if all of its cells do, and is mixed if they disagree; a printed number is not
compared with itself. On a suite's numbers there is one test: the difference is averaged over N and models inside
each dataset and shuffle, and Holm's correction is over the claims of one paper. 'Few training images' are all N but
the largest of a dataset.
"""

from __future__ import annotations

import functools
from collections import Counter

import pandas as pd

from bench.report import claims, literature
from bench.report.context import Context
from bench.report.items import Item, data_of
from bench.report.table import Table
from bench.support.errors import BenchError

ITEM = Item("Claims", measures=("every",), papers="*", group="Claims, quality, protocol")
_VERSIONS = {"all": "", "v1": " (v1)", "neurips2025": " (NeurIPS 2025)"}
Judged = dict[str, tuple[claims.Claim, dict[str, claims.Verdict]]]


def judged(context: Context | None) -> Judged:
    """Return claim and verdicts by side (printed, measured) of every id; without a context the latter was not run."""
    known, printed = _on_printed(data_of("tabClaims"))
    if not known:
        raise BenchError("config/papers has no claims; see docs/extend.md.")
    nothing = dict.fromkeys(known, claims.Verdict(claims.NOT_RUN, []))
    own = claims.in_measurements(known, claims.measured(context)) if context else nothing
    return {key: (claim, {"printed": printed[key], "measured": own[key]}) for key, claim in known.items()}


@functools.lru_cache(maxsize=1)
def _on_printed(files: str) -> tuple[dict[str, claims.Claim], dict[str, claims.Verdict]]:
    """Return the claims, and what printed numbers say of each, once for all suites; ``files`` is their files' digest."""
    known, rows = claims.load(), literature.numbers()
    return known, {key: claims.in_print(claim, rows) for key, claim in known.items()}


def build(context: Context) -> Table:
    """Build a row for each claim; the CSV holds every cell behind the verdicts."""
    found, papers = judged(context), literature.papers()
    cells = [
        {
            "Claim": claim.sentence,
            "Source": f"{papers[claim.paper].cite}, {claim.source}{_VERSIONS[claim.version]}",
            "Printed numbers": _said("printed", verdicts["printed"].summary()),
            "Our numbers": _said("measured", verdicts["measured"].summary()),
            "Why": _because(verdicts),
        }
        for claim, verdicts in found.values()
    ]
    return Table(pd.DataFrame(cells), numbers(found), _caption(context, found))


def _said(side: str, word: str) -> str:
    """Return a verdict's word; where there is none, that nothing is printed or measured."""
    return f"none {side}" if word == claims.NOT_RUN else word


def _because(verdicts: dict[str, claims.Verdict]) -> str:
    names = {"printed": "Printed", "measured": "Ours"}
    return ". ".join(
        f"{names[side]}: {verdict.text(2)}" for side, verdict in verdicts.items() if verdict.cells
    )


def numbers(found: Judged) -> pd.DataFrame:
    """Return one row per claim, side and cell; a claim without cells has one row."""
    records = []
    for key, (claim, verdicts) in found.items():
        for side, verdict in verdicts.items():
            same = {"claim": key, "version": claim.version, "numbers": side, "verdict": verdict.word}
            if verdict.pooled is not None:
                ends = ("mean", "low", "high", "count")
                same |= {f"pooled_{end}": getattr(verdict.pooled, end) for end in ends}
            rows = [
                {
                    "cell": c.where,
                    "left": c.left,
                    "right": c.right,
                    "shuffles": c.shuffles,
                    "cell_as_claimed": c.word,
                }
                for c in verdict.cells
            ]
            records += [same | {"relation": claim.relation} | row for row in rows or [{"shuffles": 0}]]
    return pd.DataFrame(records)


def _caption(context: Context, found: Judged) -> str:
    counts = {
        side: Counter(verdicts[side].word for _, verdicts in found.values())
        for side in ("printed", "measured")
    }
    texts = [
        ", ".join(f"{count[word]} {_said(side, word)}" for word in claims.VERDICTS if count[word])
        for side, count in counts.items()
    ]
    return (
        f"{len(found)} falsifiable claims. On the numbers that the papers print: {texts[0]}. On those "
        f"of suite {context.suite}: {texts[1]}. The suite's verdicts are corrected over all tested claims of a paper "
        "(Holm), its 95 % intervals are not."
    )
