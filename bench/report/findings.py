"""A paper's questions, put to a suite's measurements: answer, pooled difference, and what could have been shown.

``config/papers/<key>/findings.yaml`` asks them; each is judged like a claim (:mod:`bench.report.claims`), corrected over
the questions of its file. Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import claims, literature
from bench.report.claims import Claim, Scope, Side, Verdict
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.results.statistics import FAILS, HOLDS, detectable, stack
from bench.suite import config
from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, check, option, required

SUPPORTED, CONTRADICTED, CANNOT_TELL = "supported", "contradicted", "cannot tell"
ANSWERS = {HOLDS: SUPPORTED, FAILS: CONTRADICTED}


@dataclass(frozen=True)
class Question:
    """A question, and the comparison that answers it; "supported" is yes."""

    __pydantic_config__ = STRICT

    question: str = required("the question, ending in a question mark")
    left: Side = required("left side, as of a claim")
    relation: str = required("<, > or ~: what holds if the answer is yes")
    right: Side | float = required("right side, as of a claim")
    scope: Scope = option(Scope(), "which cells, as of a claim")
    tolerance: float | str = option(0.0, "as of a claim")
    ratio: bool = option(False, "as of a claim")
    item: str = option("", "figure or table that shows it")
    unlike: str = option("", "how it differs from the paper, beyond what holds for all questions")

    def __post_init__(self) -> None:
        check(self.question.endswith("?"), "question must end in a question mark")
        check(
            not self.item or self.item in ITEMS, f"item: there is no {self.item!r}{nearest(self.item, ITEMS)}"
        )
        self.claim("")  # refuses what no claim can compare

    def claim(self, paper: str) -> Claim:
        """Return the comparison as a claim of ``paper``."""
        keys = ("left", "relation", "right", "scope", "tolerance", "ratio")
        same = {key: getattr(self, key) for key in keys}
        return Claim(sentence=self.question, source="", version="all", paper=paper, **same)


@dataclass(frozen=True)
class File:
    """A paper's ``findings.yaml``."""

    __pydantic_config__ = STRICT

    questions: dict[str, Question] = required("id -> question")
    unlike: str = option("", "how all of them differ from the paper")


@dataclass(frozen=True)
class Finding:
    """The answer to a question."""

    key: str
    paper: str
    question: Question
    verdict: Verdict

    @property
    def answer(self) -> str:
        """``supported``, ``contradicted`` or ``cannot tell``."""
        return ANSWERS.get(self.verdict.word, CANNOT_TELL)

    def could_be_shown(self) -> str:
        """Return the smallest difference that this test alone could have shown; empty for fewer than two replicates."""
        if self.verdict.pooled is None or self.verdict.pairs < 2:
            return ""
        smallest = float(detectable(stack([self.verdict.pooled]))[0])
        return self.verdict.shown(smallest).lstrip("+")


def load() -> dict[str, File]:
    """Return the questions of each paper that asks some; raises BenchError that names file and key."""
    files = {folder.name: folder / "findings.yaml" for folder in literature.folders()}
    found = {
        paper: config.validate(File, config.read_yaml(path), str(path))
        for paper, path in files.items()
        if path.exists()
    }
    claims.check_names(
        {
            f"{files[paper]}: questions.{key}": question.claim(paper)
            for paper, file in found.items()
            for key, question in file.questions.items()
        }
    )
    return found


def answers(context: Context) -> list[Finding]:
    """Return what a suite's measurements say of every question; raises BenchError if none is asked."""
    asked = load()
    if not asked:
        raise BenchError("No paper in config/papers has a findings.yaml; see docs/extend.md.")
    table, found = claims.measured(context), []
    for paper, file in asked.items():
        judged = claims.in_measurements(
            {key: question.claim(paper) for key, question in file.questions.items()}, table
        )
        found += [Finding(key, paper, file.questions[key], verdict) for key, verdict in judged.items()]
    return found
