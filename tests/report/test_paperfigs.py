"""Figures 1 to 8 as drawings: scales that are shared, nothing that lies on anything else, words in captions."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from synthetic import make

from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.papers.an2024.fig4 import shown_layers
from bench.report.papers.an2024.fig8 import in_words

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The synthetic measurements of the paper suite."""
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make("paper", arrays=False)
    return folder


@pytest.fixture
def drawn(place, monkeypatch):
    """Draw an item of the synthetic paper suite, or of a suite that is stored in the repository."""

    @cache
    def draw(item, suite="paper"):
        monkeypatch.chdir(place if suite == "paper" else ROOT)
        return import_module(ITEMS[item].module).draw(Context(suite, item))

    return draw


@pytest.mark.parametrize("suite", ["paper", "real", "families"])
def test_figure_2_shares_the_scales_of_a_dataset(drawn, suite):
    figure, caption = drawn("fig2", suite)
    rows = np.array(figure.axes).reshape(-1, 3)
    for first, second in zip(rows[::2], rows[1::2], strict=True):  # UNet over DiT
        assert [ax.get_ylim() for ax in first] == [ax.get_ylim() for ax in second]
    assert "no band" not in caption or "bands are" not in caption
    assert ("at N = 10 the train images repeat" in caption) == (suite != "paper")


@pytest.mark.parametrize("suite", ["paper", "real", "families"])
def test_insets_of_figure_2_enlarge_and_lie_on_nothing(drawn, suite):
    figure, _ = drawn("fig2", suite)
    figure.draw_without_rendering()
    insets = [(ax, inset) for ax in figure.axes for inset in ax.child_axes]
    assert insets
    for ax, inset in insets:
        box = inset.get_window_extent()
        assert not box.overlaps(ax.get_legend().get_window_extent())
        for curve in ax.lines:
            assert not any(box.contains(*at) for at in ax.transData.transform(curve.get_xydata()))
        for shade in ax.collections:
            (outline,) = shade.get_paths()
            assert not any(box.contains(*at) for at in ax.transData.transform(outline.vertices))
        for side, lim in enumerate((inset.get_xlim(), inset.get_ylim())):
            framed = np.ptp(ax.transData.transform(np.array(lim)[:, None].repeat(2, 1))[:, side])
            assert (box.width, box.height)[side] >= 1.4 * framed * 0.999


def test_legends_of_figure_2_stay_inside_their_panels(drawn):
    figure, _ = drawn("fig2", "real")
    figure.draw_without_rendering()
    for ax in figure.axes:
        legend, panel = ax.get_legend().get_window_extent(), ax.get_window_extent()
        assert panel.x0 < legend.x0 and legend.x1 < panel.x1


@pytest.mark.parametrize(("item", "suite"), [("fig6", "paper"), ("fig6", "families"), ("fig8", "paper")])
def test_equal_heights_of_bars_are_equal_gaps(drawn, item, suite):
    figure, caption = drawn(item, suite)
    limits = [ax.get_ylim() for ax in figure.axes]
    rows = [limits] if item == "fig6" else [limits[i : i + 2] for i in (0, 2, 4)]
    assert all(len(set(row)) == 1 for row in rows)
    assert "clipped at 0 per step" in caption


@pytest.mark.parametrize(("item", "suite"), [("fig6", "paper"), ("fig6", "families"), ("fig8", "paper")])
def test_numbers_stand_above_whiskers_clear_of_diamonds(drawn, item, suite):
    figure, _ = drawn(item, suite)
    figure.draw_without_rendering()
    for ax in figure.axes:
        inside = ax.get_window_extent()
        marks = [line for line in ax.lines if line.get_label() == "the paper"]
        spots = [ax.transData.transform(at) for line in marks for at in line.get_xydata()]
        ends = [
            ax.transData.transform(end)
            for bars in ax.collections
            for path in bars.get_paths()
            for end in path.vertices
        ]
        for text in ax.texts:
            box = text.get_window_extent()
            assert box.y1 < inside.y1
            assert not any(box.contains(*at) for at in [*spots, *ends]), text
        centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
        assert all(min(abs(x - c) for c in centres) < 1e-9 for line in marks for x in line.get_xdata())
        assert not any(line.get_clip_on() for line in marks)


def test_figure_6_shows_the_noise_floor_where_the_identity_was_measured(drawn):
    figure, caption = drawn("fig6", "real")
    assert "Dotted" in caption
    floors = [lines for lines in figure.axes[0].collections if lines.get_label() == "identity"]
    heights = [path.vertices[0, 1] for path in floors[0].get_paths()]
    assert heights == pytest.approx([0.189672, 0.150637, 0.150637], abs=1e-6)
    assert "Dotted" not in drawn("fig6", "demo")[1]


def test_figure_6_speaks_of_the_shuffles_that_it_shows(drawn):
    """The baseline on CelebA has three, its variant one."""
    caption = drawn("fig6")[1]
    assert "; 1 shuffle." in caption and "whiskers" not in caption
    assert "3 shuffles, whiskers are" in drawn("fig6", "families")[1]


def test_figure_5_names_the_framed_rows(drawn):
    whole = [ax for ax in drawn("fig5")[0].axes if ax.get_xlabel()]
    assert [[*ax.get_yticks()] for ax in whole] == [[0, 6, 14]] * 2


def test_windows_in_words():
    assert in_words("5*6@head") == "5 in six layers"
    assert in_words("3,3,5,5,7,7@tail") == "3, 5, 7 in two layers each"
    assert in_words("3,5,5@head") == "3, 5, 5"
    assert in_words("3,5@mix") == "3, 5 in one layer each"


def test_figure_7_explains_its_diamonds_and_shares_its_scales(drawn):
    figure, caption = drawn("fig7")
    rows = [figure.axes[i : i + 2] for i in range(0, len(figure.axes), 2)]
    for line in (rows[::2], rows[1::2]):
        assert len({ax.get_ylim() for row in line for ax in row}) == 1
    for ax in (ax for row in rows[::2] for ax in row):
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert "the paper" in labels
        lines = [group.lines[0].get_linestyle() for group in ax.containers]
        assert len(set(lines)) == len(lines) == 4
    assert "clipped at 0 per step" in caption


@pytest.mark.parametrize(
    ("item", "model"), [("fig1", "UNet"), ("fig3", "UNet"), ("fig4", "DiT"), ("figA3", "")]
)
def test_captions_say_of_what_they_are(drawn, item, model):
    caption = drawn(item, "demo")[1]
    assert caption.index("Disks") < 60 and model in caption
    assert "step 7 (noise 0.5 of the image's scale)" in caption
    assert "step_indices" not in caption


def test_figure_3_gives_the_spectrum_the_room_of_pictures_that_are_withheld(drawn):
    figure, caption = drawn("fig3", "real")
    figure.draw_without_rendering()
    assert not [text for ax in figure.axes for text in ax.texts if "redistributable" in text.get_text()]
    spectra = [ax for ax in figure.axes if ax.get_xlabel() == "k"]
    withheld, free = ([ax.get_position().width for ax in part] for part in (spectra[:6], spectra[6:]))
    assert len(free) == 6 and min(withheld) > 2 * max(free)
    assert "of CelebA (10k) are withheld by licence" in caption
    assert "the 8 leading eigenvalues" in caption and "noise prediction" not in caption
    demo = drawn("fig3", "demo")[1]
    assert "withheld" not in demo and "all eigenvalues" in demo and "noise prediction (ε̂)" in demo


def test_an_operator_looks_the_same_in_figures_3_and_a3(drawn):
    spectra = [ax for ax in drawn("fig3", "demo")[0].axes if ax.get_xlabel() == "k"]
    looks = [(line.get_color(), line.get_linestyle()) for line in spectra[0].lines]  # x0, then noise
    lines = {line.get_label(): line for line in drawn("figA3", "demo")[0].axes[0].lines}
    assert [
        (line.get_color(), line.get_linestyle()) for line in (lines["x0 estimate"], lines["noise prediction"])
    ] == looks


def test_the_box_of_figure_4_leaves_its_token_free(drawn):
    for ax in drawn("fig4", "demo")[0].axes:
        for box in ax.patches:
            assert box.get_width() >= 3 and box.get_height() >= 3
    assert shown_layers(12, 6) == [1, 3, 5, 7, 9, 11]  # as the paper
    assert shown_layers(3, 6) == [0, 1, 2] and shown_layers(7, 3) == [1, 3, 6]


def test_a_token_that_the_whole_map_leaves_blank_is_normalised_by_itself(drawn):
    figure, caption = drawn("fig4", "demo")
    tokens = [ax.images[0].get_array() for ax in figure.axes if ax.patches and ax.images]
    assert "normalised by itself" in caption
    assert len(tokens) == 2 and all(t.min() == 0 and t.max() == 1 for t in tokens)
    assert "normalised by itself" not in drawn("fig4", "real")[1]
