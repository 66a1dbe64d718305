"""The items of the two clocks, from made-up measurements: what is reached has an interval, what is not is a bound."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import write

from bench.report import claims, findings
from bench.report.context import Context
from bench.report.figures import figA22
from bench.report.items import ITEMS
from bench.report.papers.bonnaire2025 import figA21, tabA10
from bench.report.papers.bonnaire2025.clock import Reading, later, readings
from bench.report.style import sheet

SUITE = "bonnaire2025-small"
STEPS = [10, 100, 1000, 8000]


def gaps_of(run):
    """A gap of 2 dB on noisy images of which the trajectory shows half, none at the largest N."""
    gap = 2.0 * (run.train_size < 16)
    where = ("train-test", "step", 7)
    split = "train-test"
    found = {
        ("trajectory_gap", *where): gap / 2,
        ("psnr_gap_signed", *where): gap,
        ("psnr_mean", "test", "", None): 20,
    }
    found |= {("trajectory_gap_mean", split, "", None): gap / 2 + run.shuffle / 99}
    found |= {("psnr_gap_signed_mean", split, "", None): gap + run.shuffle / 9 + 0.1}
    return found if run.measure.trajectory else {}


def rows_of(run):
    """Copies begin at 40 n steps, twice as late with windows, and half as late in a wide network; 8,000 is the end."""
    role = run.model.name.rpartition("-")[2]
    begins = 40 * run.train_size * {"local": 2, "wide": 0.5}.get(role, 1)
    found = {("clocks_copies", "", "training_step", s): float(s > begins) for s in STEPS}
    found |= {("clocks_distance", "test", "training_step", s): 1 + abs(np.log(s / 300)) for s in STEPS}
    best = 100 + 2 * run.shuffle
    numbers = {"generalization_step": best, "generalization_step_low": 100, "generalization_step_high": 1000}
    if begins > 8000:
        numbers["memorization_step_after"] = 8000
    else:
        step = begins + run.shuffle
        numbers |= {"memorization_step": step, "memorization_step_per_image": step / run.train_size}
        numbers |= {"memorization_step_low": 0.8 * begins, "memorization_step_high": 1.25 * begins}
    return found | gaps_of(run) | {(metric, "", "", None): value for metric, value in numbers.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(SUITE, rows_of)
        yield folder


def test_a_cell_has_the_interval_of_its_shuffles_or_a_bound(place):
    found = readings(Context(SUITE, "tabA10"), "memorization")
    one = found["mixture-8", "mlp-8", 128]
    assert one.step == pytest.approx(5121, abs=1) and (one.low, one.high, one.shuffles) == (4096, 6400, 3)
    assert found["mixture-8", "mlp-8", 1024] == Reading(None, 8000, None, 1)


def test_the_table_says_bounds_and_who_copies_later(place):
    table = tabA10.build(Context(SUITE, "tabA10"))
    rows = table.frame.set_index(["Dataset", "Model", "N"])
    assert (
        rows.loc[("Mixture of two Gaussians", "MLP", "1,024"), "Step at which copies begin"] == "after 8,000"
    )
    assert (
        rows.loc[("CelebA 8x8, grey", "DiT w/ Local", "16"), "Copies begin, against the baseline"] == "later"
    )
    assert (
        rows.loc[("CelebA 8x8, grey", "UNet, width 32", "16"), "Copies begin, against the baseline"]
        == "earlier"
    )
    assert "earlier in 4, later in 2 of 6 cells" in table.caption
    numbers = table.numbers.set_index(["model", "train_size"])
    assert np.isnan(numbers.loc[("mlp-8", 1024), "memorization_step"])


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (Reading(5, 4, 6, 3), Reading(9, 7, 11, 3), "later"),
        (Reading(5, 4, 6, 3), Reading(None, 6, None, 3), "later"),
        (Reading(None, 6, None, 3), Reading(5, 4, 6, 3), "earlier"),
        (Reading(5, 4, 8, 3), Reading(9, 7, 11, 3), "no difference shown"),
        (Reading(5, 4, 8, 3), Reading(None, 6, None, 3), "no difference shown"),
        (Reading(None, 6, None, 3), Reading(None, 9, None, 3), "neither reached"),
    ],
)
def test_two_clocks_are_compared_by_interval_and_bound(first, second, word):
    assert later(first, second) == word


def test_the_figure_is_drawn_and_says_both_clocks(place):
    with sheet():
        figure, caption = figA21.draw(Context(SUITE, "figA21"))
        figure.draw_without_rendering()
    assert (
        "copies begin at step 5,100 [4,100, 6,400] at N = 128" in caption
        and "after 8,000 at N = 1,024" in caption
    )
    assert len(figure.axes) == 5 and ITEMS["figA21"].paper == "bonnaire2025"


def test_both_gaps_are_drawn_with_the_test_psnr(place):
    with sheet():
        figure, caption = figA22.draw(Context(SUITE, "figA22"))
        figure.draw_without_rendering()
    assert "DiT at N = 8: 2.00 and 1.00 dB (test PSNR 20.00 dB)" in caption
    assert "DiT w/ Local at N = 16: 0.00 and 0.00 dB" in caption and len(figure.axes) == 2


def test_what_we_ask_ourselves_is_answered(place):
    found = {
        one.key: one for one in findings.answers(Context(SUITE, "tabFindings")) if one.paper == "bonnaire2025"
    }
    answers = {key: one.answer for key, one in found.items()}
    assert answers["local-copies-later"] == answers["gap-off-trajectory"] == "supported"
    assert answers["local-on-trajectory"] != "supported"  # both have the same


def test_the_claims_of_the_paper_are_judged_without_what_was_not_reached(place):
    known = {key: one for key, one in claims.load().items() if one.paper == "bonnaire2025"}
    found = claims.in_measurements(known, claims.measured(Context(SUITE, "tabClaims")))
    assert {key: one.word for key, one in found.items()} == dict.fromkeys(known, "holds") | {
        "bon-wide-best": "no difference shown"
    }
