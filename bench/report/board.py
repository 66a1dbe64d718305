"""One board for all papers: papers by rows, questions by columns, each cell what this project's own numbers say.

A claim that names a ``question`` answers it for its paper.  Of the suites that measured both of its sides it is judged on
the one with the most dataset-shuffle pairs.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.report import claims, literature
from bench.report.claims import NOT_RUN, QUESTIONS, Claim, Verdict
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.markup import markdown, markdown_table
from bench.suite import config
from bench.support import paths

INTRODUCTION = """## How the papers' answers hold up

Papers by rows, questions by columns. A cell is the verdict of this project's own numbers on a claim of the paper: the
difference of its two sides with a 95 % interval over datasets and shuffles, on the suite that has the most of these, and a
link to the figure or table. Verdicts are corrected over all tested claims of a paper, intervals are not. The tables of
claims show every comparison, and what the papers' own numbers say.
"""


class Answer(NamedTuple):
    """A claim with its verdict on one suite; no suite if none measured both of its sides."""

    claim: Claim
    verdict: Verdict
    suite: str = ""


def answers() -> dict[tuple[str, str], list[Answer]]:
    """Return the answers by (paper, question); words are corrected as in the suite's own table of claims."""
    every = claims.load()
    asked = {key: claim for key, claim in every.items() if claim.question}
    judged = {
        suite: claims.in_measurements(every, claims.measured(Context(suite, "tabClaims")))
        for suite in config.suites()
        if paths.stored_table(suite).exists()
    }
    found: dict[tuple[str, str], list[Answer]] = {}
    for key, claim in asked.items():
        on = [Answer(claim, verdicts[key], suite) for suite, verdicts in judged.items()]
        on = [one for one in on if one.verdict.word != NOT_RUN]
        best = max(on, key=lambda one: one.verdict.pairs, default=Answer(claim, Verdict(NOT_RUN, [])))
        found.setdefault((claim.paper, claim.question), []).append(best)
    return found


def board(links: dict[str, set[str]]) -> str:
    """Return the board in Markdown; ``links`` names the items of each suite that have a page to link."""
    found = answers()
    rows = []
    for key, paper in literature.papers().items():
        cells = ["<br>".join(_text(one, links) for one in found.get((key, q), [])) or "–" for q in QUESTIONS]
        rows.append([f"[{markdown(paper.cite)}]({paper.link})", *cells])
    return f"{INTRODUCTION}\n{markdown_table(['Paper', *QUESTIONS.values()], rows)}\n"


def _text(answer: Answer, links: dict[str, set[str]]) -> str:
    """Return a cell: the claim, the word, the interval, the suite, and a link to the item."""
    claim, verdict, suite = answer
    sentence = markdown(claim.sentence)
    if not suite:
        return f"{sentence} *Not measured yet.*"
    name = ITEMS[claim.item].title
    item = claim.item if claim.item in links.get(suite, ()) else ""
    page = (
        f"suites/{suite}-{ITEMS[item].kind}s.md#{item.lower()}" if item else f"items.md#{claim.item.lower()}"
    )
    interval = f": {verdict.interval()}" if verdict.pooled else ""
    return f"{sentence} **{verdict.word.capitalize()}**{interval} ({suite}, [{name}]({page}))"
