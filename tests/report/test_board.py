"""The board of all papers: every cell is computed from stored measurements, and says where it comes from."""

from __future__ import annotations

import re

import pytest
from synthetic import make

from bench.report import board, claims, literature
from bench.report.board import answers
from bench.support import paths
from bench.support.errors import BenchError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make("small", arrays=False)
        yield folder


def test_a_claim_is_answered_on_the_suite_that_measured_it(place):
    (local,) = [one for one in answers()["an2024", "locality"] if one.claim.item == "fig6"]
    assert local.suite == "small" and local.verdict.pooled is not None
    (copies, *_) = answers()["bonnaire2025", "memorization"]
    assert copies.suite == "" and copies.verdict.word == claims.NOT_RUN


def test_every_paper_has_a_row_and_every_question_a_column(place):
    text = board.board({"small": {"fig6"}})
    table = [line for line in text.splitlines() if line.startswith("|")]
    papers = literature.papers()
    assert len(table) == len(papers) + 2 and all(
        line.count(" | ") == len(claims.QUESTIONS) for line in table[2:]
    )
    assert all(question in table[0] for question in claims.QUESTIONS.values())
    (an,) = [line for line in table if line.startswith("| [An et al. 2024]")]
    assert re.search(r"\*\*[A-Z][a-z ]+\*\*: [−+]?[\d.]+ ?%?( \[.*?\])? \(small, \[Figure 6\]", an)
    assert "(suites/small-figures.md#fig6)" in an and "(items.md#fig4)" in an  # drawn, and not drawn
    (bonnaire,) = [line for line in table if line.startswith("| [Bonnaire et al. 2025]")]
    assert "*Not measured yet.*" in bonnaire and "| – |" in bonnaire


def test_other_numbers_give_another_board(place):
    before = board.board({})
    file = paths.stored_table("small")
    text = file.read_text()
    file.write_text(
        text.replace("psnr_gap_mean,dB", "psnr_gap_signed_mean,dB").replace(",psnr_gap_mean,", ",psnr_gap,")
    )
    assert board.board({}) != before
    file.write_text(text)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"question": "localty", "item": "fig6"},
            "there is no question 'localty' (did you mean 'locality'?)",
        ),
        ({"question": "locality", "item": "fig66"}, "item: there is no 'fig66'"),
        ({"question": "locality"}, "a claim with a question names one"),
    ],
)
def test_a_claim_of_an_unknown_question_or_item_is_refused(more, words):
    claim = {
        "sentence": "A sentence that a number refutes.", "source": "here", "version": "all",
        "left": {"metric": "psnr_mean"}, "relation": "<", "right": 1.0,
    }  # fmt: skip
    with pytest.raises(BenchError, match=re.escape(words)):
        claims.read_claim(claim | more, "x", "file: key")
