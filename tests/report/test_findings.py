"""Findings: questions are checked, answered by a pooled test, compared at equal train PSNR, and shown on a page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.report import findings, site, style
from bench.report.claims import in_measurements
from bench.report.context import Context
from bench.report.figures import figTransition
from bench.report.literature import COLUMNS
from bench.report.render import render
from bench.report.tables import tabFindings
from bench.results.equal_psnr import Curve, gaps_at_equal_train_psnr
from bench.results.tidy import at
from bench.suite import config
from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
LOCAL, GLOBAL = {"role": "local"}, {"role": "", "family": ["dit"]}


def question(metric: str, **changes) -> findings.Question:
    sides = {"left": {"metric": metric, **LOCAL}, "right": {"metric": metric, **GLOBAL}}
    return config.validate(
        findings.Question,
        {"question": "Is the gap lower?", "relation": "<", "scope": {}, **sides, **changes},
        "here",
    )


def rows(metric: str, values: dict, **same) -> pd.DataFrame:
    """Rows (role, N, shuffle) -> value, or (index -> value)."""
    empty = dict.fromkeys(COLUMNS, "") | {"dataset": "Disks", "root": "dit", "family": "dit", "index": pd.NA}
    found = []
    for (role, size, shuffle), value in values.items():
        points = value if isinstance(value, dict) else {pd.NA: value}
        named = {"metric": metric, "role": role, "label": f"DiT {role}".strip(), "train_size": size}
        found += [
            empty | named | {"shuffle": shuffle, "index": i, "value": v} | same for i, v in points.items()
        ]
    return pd.DataFrame(found)[COLUMNS]


def answer(one: findings.Question, table: pd.DataFrame) -> findings.Finding:
    verdict = in_measurements({"x": one.claim("p")}, table)["x"]
    return findings.Finding("x", "p", one, verdict)


def test_a_gap_is_compared_by_its_ratio():
    gaps = {("", n, s): g for n, g in ((10, 4.0), (100, 0.2)) for s in (0, 1, 2)}
    gaps |= {("local", n, s): 0.8 * g * (1 + 0.01 * s) for (_, n, s), g in gaps.items()}
    found = answer(question("psnr_gap_mean"), rows("psnr_gap_mean", gaps))
    assert found.answer == "supported" and found.verdict.pairs == 3
    assert np.expm1(found.verdict.pooled.mean) == pytest.approx(
        0.8 * 1.01 - 1, abs=1e-3
    )  # not ruled by N = 10
    assert found.verdict.difference().startswith("−19.2 % [−2")


def test_what_cannot_be_told_says_how_small_a_difference_could_have_been_shown():
    gaps = {("", 10, s): 1.0 for s in range(3)} | {("local", 10, s): g for s, g in enumerate((0.5, 1.0, 2.0))}
    found = answer(question("psnr_gap_mean"), rows("psnr_gap_mean", gaps))
    assert found.answer == "cannot tell" and found.could_be_shown().endswith(" %")
    alone = answer(
        question("psnr_gap_mean"), rows("psnr_gap_mean", {("", 10, 0): 1.0, ("local", 10, 0): 0.5})
    )
    assert alone.answer == "cannot tell" and alone.could_be_shown() == ""


def test_gaps_at_equal_train_psnr_are_read_at_the_lower_end():
    slow = Curve(np.array([10.0, 12.0, 14.0]), np.array([0.0, 0.2, 0.4]))
    fast = Curve(np.array([10.0, 14.0, 18.0]), np.array([0.0, 0.4, 0.8]))
    assert gaps_at_equal_train_psnr(slow, fast) == pytest.approx((0.4, 0.4))
    late = Curve(np.array([15.0, 18.0]), np.array([0.5, 0.8]))
    assert np.isnan(gaps_at_equal_train_psnr(slow, late)[1])


def test_a_slower_learner_has_no_smaller_gap_at_equal_train_psnr():
    train, gap = {}, {}
    for shuffle in range(3):
        for role, last in (("", 18.0), ("local", 16.0)):
            steps = {1: 10.0, 2: (10 + last) / 2, 3: last}
            train[role, 10, shuffle] = steps
            gap[role, 10, shuffle] = {
                k: (v - 10) / 10 + 0.001 * shuffle * (role == "") for k, v in steps.items()
            }
    table = pd.concat(
        [
            rows("along_psnr_mean", train, split="train"),
            rows("along_psnr_gap_signed_mean", gap, split="train-test"),
        ]
    )
    found = answer(question("gap_at_equal_train_psnr"), table)
    assert found.answer == "cannot tell"
    assert np.expm1(found.verdict.pooled.mean) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "The gap is much lower."}, "question mark"),
        ({"item": "fig66"}, "there is no 'fig66'"),
        ({"left": {"metric": "psnr_gap"}, "right": {"metric": "psnr_gapp"}}, "psnr_gapp"),
        ({"titel": 1}, "titel"),
    ],
)
def test_bad_questions(changes, message):
    with pytest.raises(BenchError, match=message.replace("?", r"\?")):
        question("psnr_gap_mean", **changes)


def test_a_question_about_a_role_that_there_is_none_of_is_refused(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    folder = tmp_path / "config" / "papers" / "x"
    folder.mkdir()
    (folder / "about.yaml").write_text("cite: X 2024\ntitle: T\nlink: L\nnote: N\n")
    sides = "left: {metric: psnr_gap_mean, role: locl}\n    relation: <\n    right: 1.0\n"
    (folder / "findings.yaml").write_text(f"questions:\n  q:\n    question: Is the gap small?\n    {sides}")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    with pytest.raises(BenchError, match="findings.yaml: questions.q: left: there is no role 'locl'"):
        findings.load()


def test_every_question_of_the_papers_reads_and_shows_an_item_that_there_is():
    for paper, file in findings.load().items():
        assert file.questions, paper
        for one in file.questions.values():
            assert one.claim(paper).sentence == one.question


def test_the_page_shows_answers_and_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("families", arrays=False)
    for name, kind in (("fig6", "figure"), ("tabFindings", "table")):
        render(name, "families", kind)
    page, table = site.findings_page(), tabFindings.build(Context("families", "tabFindings"))
    for question, answer in zip(table.frame["Question"], table.frame["Answer"]):
        assert f"### {question}\n\n**{answer.capitalize()}**" in page
    assert 'src="suites/families/fig6.png"' in page and "Unlike the paper: images of 16x16 pixels" in page


def test_the_transition_shows_bounds_that_the_item_does_not_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("families", arrays=False)
    context = Context("families", "figTransition")
    assert "memoriser" not in context.options["models"]
    with style.sheet():
        figure, caption = figTransition.draw(context)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert {"Memoriser", "Wiener", "UNet"} <= {*lines}
    shares = at(context.table, metric="memorized_share", model="memoriser", split="", dataset="disks-16")
    wanted = 100 * shares.groupby("train_size")["value"].mean()
    assert np.allclose(lines["Memoriser"].get_ydata(), wanted) and "headroom" in caption
