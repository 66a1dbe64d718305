"""The claims table: what printed and measured numbers say of the papers' sentences."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from bench.report import claims, literature
from bench.report.context import Context
from bench.report.items import Item
from bench.report.measured import measured
from bench.report.table import Table
from bench.support.errors import BenchError

ITEM = Item(
    title="Claims",
    subject="Sentences of the papers, judged",
    measures=("every",),
    group="Claims, quality, protocol",
)

SIDES = ("printed", "measured")
_VERSIONS = {"all": "", "v1": " (v1)", "neurips2025": " (NeurIPS 2025)"}


def judged(context: Context | None) -> list[tuple[str, claims.Claim, dict[str, claims.Verdict]]]:
    """Return (id, claim, verdicts by side); without a context the measured side was not run."""
    printed = literature.numbers()
    own = measured(context) if context else None
    found = []
    for key, claim in claims.load().items():
        verdicts = {"printed": claims.judge(claim, printed, repeated=False)}
        verdicts["measured"] = (
            claims.Verdict("not run", []) if own is None else claims.judge(claim, own, repeated=True)
        )
        found.append((key, claim, verdicts))
    if not found:
        raise BenchError("config/papers holds no claim; see docs/extend.md.")
    return found


def build(context: Context) -> Table:
    """Build a row for each claim; the CSV holds every cell behind the verdicts."""
    rows = judged(context)
    cells = [
        [
            claim.sentence,
            _source(claim),
            verdicts["printed"].summary(),
            verdicts["measured"].summary(),
            _because(verdicts),
        ]
        for _, claim, verdicts in rows
    ]
    frame = pd.DataFrame(cells, columns=["Claim", "Source", "Printed numbers", "Our numbers", "Cells"])
    return Table(frame, numbers(rows), _caption(context, rows), columns="p{5cm}p{2.6cm}llp{4.6cm}")


def _source(claim: claims.Claim) -> str:
    """Return paper, place and version of a claim."""
    return f"{literature.papers()[claim.paper].cite}, {claim.source}{_VERSIONS[claim.version]}"


def _because(verdicts: dict[str, claims.Verdict]) -> str:
    words = {"printed": "printed", "measured": "ours"}
    return ". ".join(f"{words[side]}: {verdicts[side].text(2)}" for side in SIDES if verdicts[side].cells)


def numbers(rows: list) -> pd.DataFrame:
    """Return one row per claim, side and cell; a claim without cells has one row."""
    records = []
    for key, claim, verdicts in rows:
        for side in SIDES:
            same = [key, claim.version, side, verdicts[side].word]
            records += [
                [*same, c.where, c.left, claim.relation, c.right, c.shuffles, c.verdict]
                for c in verdicts[side].cells
            ] or [[*same, "", None, claim.relation, None, 0, ""]]
    return pd.DataFrame(
        records,
        columns=[
            "claim", "version", "numbers", "verdict", "cell", "left", "relation", "right", "shuffles", "cell_verdict",
        ],
    )  # fmt: skip


def _caption(context: Context, rows: list) -> str:
    counts = [Counter(verdicts[side].word for *_, verdicts in rows) for side in SIDES]
    texts = [", ".join(f"{count[w]} {w}" for w in claims.VERDICTS if count[w]) for count in counts]
    return (
        f"{len(rows)} claims that a number can refute. On the numbers that the papers print: {texts[0]}. On those of suite "
        f"{context.suite}: {texts[1]}. A claim holds or fails where its decided cells do, with their share of all cells; it "
        "is mixed where they disagree. A measured cell needs two shuffles or more and is decided by its own paired 95 % "
        "interval over them, uncorrected, so that its word may differ from a table's, which is corrected for its cells; "
        "printed numbers come without an interval. A printed number is not compared with itself (not run). 'Few training "
        f"images' are all N but the largest of a dataset. {context.scope}"
    )
