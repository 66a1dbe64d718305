"""What networks see and whether they agree, from made-up measurements."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import write

from bench.report import claims
from bench.report.context import Context
from bench.report.papers.niedoba2025 import figA23, tabA11
from bench.report.style import sheet
from bench.support import paths

SUITE = "niedoba2025-small"
STEPS = [3, 7, 15, 25, 35]


def rows_of(run):
    """Networks follow the planted pattern, those with windows half as far; sides grow with noise."""
    found = {("psnr_mean", "test", "", None): 20.0}
    local = bool(run.model.options.get("windows"))
    if run.measure.sensitivity is None:
        return found
    for k, step in enumerate(STEPS):
        where = ("test", "step", step)
        found["sensitivity_side_50", *where] = found["sensitivity_optimum_side_50", *where] = (
            2 + k + run.shuffle / 9
        )
        found["sensitivity_side_95", *where] = 4 + k - local + run.shuffle / 9
        if run.dataset.startswith("planted"):
            found["sensitivity_pattern", *where] = 0.3 - 0.2 * local
            found["sensitivity_optimum_pattern", *where] = 0.3
            found["sensitivity_planted_cosine", *where] = 0.9 - 0.3 * local
            found["sensitivity_stationary_cosine", *where] = 0.7 + run.shuffle / 99
    if run.model.family == "dit" and run.measure.attention is not None:
        found |= {("attention_distance", "test", "layer", k): 2 + k / 9 for k in (1, 2, 3)}
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        loaded, rng = write(SUITE, rows_of), np.random.default_rng(0)
        images = rng.integers(0, 256, (2, 16, 16, 16, 1), dtype=np.uint8)
        for name, run in loaded.runs.items():
            if run.measure.samples is not None:
                paths.arrays_folder(SUITE, name).mkdir(parents=True)
                own = images[1 if run.model.name == "memoriser" else 0]  # all draw alike but the memoriser
                np.savez(paths.arrays_folder(SUITE, name) / "samples.npz", samples=own)
        yield folder


def test_the_figure_shows_both_optima_in_its_caption(place):
    with sheet():
        figure, caption = figA23.draw(Context(SUITE, "figA23"))
        figure.draw_without_rendering()
    assert "DiT w/ Local 0.60 and 0.71" in caption and len(figure.axes) == 4
    assert figure.axes[0].get_title() == "(a) Planted covariance"


def test_networks_that_draw_alike_agree_and_one_that_does_not_is_told_apart(place):
    context = Context(SUITE, "tabA11")
    assert context.missing("samples") == ""
    table = tabA11.build(context)
    rows = table.frame.set_index(["Network", "With"])["Correlation ↑"]
    assert (
        rows["UNet", "DiT"] == "1.00 [1.00, 1.00]"
        and abs(float(rows["UNet", "Memoriser"].split()[0].replace("−", "-"))) < 0.2
    )
    assert ("Wiener", "Memoriser") not in rows.index and ("Memoriser", "Wiener") not in rows.index
    assert (table.numbers["count"] == 3).all()


def test_correlation_is_of_pixels_without_their_mean():
    one = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    assert tabA11.correlation(one, 2 * one + 7) == pytest.approx(1)
    assert tabA11.correlation(one, 255 - one) == pytest.approx(-1)


def test_the_claims_tell_data_from_architecture(place):
    known = {key: one for key, one in claims.load().items() if one.paper == "niedoba2025"}
    found = claims.in_measurements(known, claims.measured(Context(SUITE, "tabClaims")))
    words = {key: one.word for key, one in found.items()}
    assert words["luk-follows-data"] == "holds" and words["luk-follows-data-windows"] == "fails"
    assert words["nie-wider-with-noise"] == words["luk-windows-narrow"] == "holds"
