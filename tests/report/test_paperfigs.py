"""Figures 1 to 8 as drawings: what is shown, on which scale, and what their captions say."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.report import style
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.papers.an2024.fig4 import shown_layers
from bench.results.baselines import PICTURES
from bench.results.tidy import at, read_tidy
from bench.results.training_state import OVERFITTED, SETTLED, STILL_LEARNING
from bench.support.arrays import save_arrays
from bench.support.errors import BenchError
from bench.support.files import read_json, write_json

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The synthetic measurements of the paper suite."""
    folder = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make("paper", arrays=False)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The stored measurements of `demo` twice: of disks, and as of faces whose pictures may not be passed on."""
    old, folder = ROOT / "results" / "baselines" / "demo", tmp_path_factory.mktemp("two")
    new = folder / "results" / "baselines" / "two"
    (new / "arrays").mkdir(parents=True)
    plan = read_json(old / "plan.json")
    faces = plan["datasets"]["disks-16"] | {"title": "Faces", "redistribute": False}
    plan["datasets"] = {"faces-16": faces, **plan["datasets"]}
    plan["runs"] = [r | {"dataset": "faces-16", "name": _of_faces(r["name"])} for r in plan["runs"]] + plan[
        "runs"
    ]
    write_json(new / "plan.json", plan | {"suite": "two"})
    table = read_tidy(old / "tidy.csv.gz")
    pd.concat([table, table.assign(dataset="faces-16")]).assign(suite="two").to_csv(
        new / "tidy.csv.gz", index=False
    )
    for run in (old / "arrays").iterdir():
        (new / "arrays" / run.name).symlink_to(run)
        if (spectra := run / "jacobian.npz").exists():
            with np.load(spectra) as arrays:  # as promotion stores them: no picture
                kept = {key: arrays[key] for key in arrays if not key.startswith(PICTURES)}
            save_arrays(new / "arrays" / _of_faces(run.name) / "jacobian.npz", **kept)
    return folder


def _of_faces(run: str) -> str:
    return run.replace("disks-16", "faces-16")


@pytest.fixture
def drawn(place, two, as_stored, monkeypatch):
    """Draw an item of the synthetic paper suite, of ``two``, or of a suite that is stored in the repository."""

    @cache
    def draw(item, suite="paper"):
        monkeypatch.chdir({"paper": place, "two": two}.get(suite, as_stored))
        with style.sheet():
            return import_module(ITEMS[item].module).draw(Context(suite, item))

    return draw


def stored(suite, **where):
    """Return the values of a suite's baselines, smallest N first."""
    table = at(read_tidy(ROOT / "results" / "baselines" / suite / "tidy.csv.gz"), **where)
    return table.sort_values("train_size")["value"]


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.parametrize(
    ("item", "suite", "rows"), [("fig2", "two", 2), ("fig6", "two", 1), ("fig8", "paper", 1)]
)
def test_panels_of_one_dataset_or_row_share_their_scale(drawn, item, suite, rows):
    axes = [ax for ax in drawn(item, suite)[0].axes if ax.lines or ax.patches]
    limits = [ax.get_ylim() for ax in axes]
    if item == "fig2":
        assert all(limits[i] == limits[i + 3] for i in range(3))  # UNet over DiT
    else:
        assert limits[0] == limits[1]


def test_figure_2_has_controls_and_enlarged_parts(drawn):
    figure, caption = drawn("fig2", "families")
    insets = [inset for ax in figure.axes for inset in ax.child_axes]
    assert len(insets) >= 4
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert names == ["Wiener (pool)", "Identity"]
    assert "(a)" in caption and "(b)" in caption and "Mean gap on Disks: at N = 10 " in caption
    assert "at N = 10 the train images repeat" in caption
    assert "The paper prints" in drawn("fig2")[1]


def test_bars_show_the_papers_numbers_windows_and_sizes(drawn):
    figure, caption = drawn("fig6")
    written = "\n".join(texts(figure))
    assert (
        "(a) DiT-XS/1, hidden size 252, heads 4\nw/ Local: windows 3,5,7,9,11,13 in layers 1-6 of 12"
        in written
    )
    assert "(b) DiT-S/1, hidden size 384, heads 6" in written
    assert "◇ 7.49\n◇ 6.56" in written and "whiskers" not in caption  # the variants have one shuffle
    _, stored = drawn("fig6", "families")
    assert "95 % interval of the paired difference" in stored and "3 shuffles" in stored


def test_a_number_stands_on_its_bar_and_a_diamond_at_its_value(drawn):
    figure, _ = drawn("fig6")
    ax = next(ax for ax in figure.axes if ax.get_title() == "CelebA")
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert sorted(diamonds[0].get_ydata()) == [0.01, 0.01, 0.57, 0.80, 6.56, 7.49]
    digits = {bar.get_height(): 3 if bar.get_height() < 0.5 else 2 for bar in ax.patches}
    heights = sorted(round(height, digits[height]) for height in digits)
    assert heights == sorted(float(text.get_text()) for text in ax.texts)


def test_figure_6_shows_the_gap_of_the_identity_where_it_was_measured(drawn):
    figure, _ = drawn("fig6", "two")
    floors = [lines for lines in figure.axes[0].collections if lines.get_label() == "identity"]
    heights = [path.vertices[0, 1] for path in floors[0].get_paths()]
    gaps = stored("demo", metric="psnr_gap_mean", model="identity")
    assert heights == pytest.approx(gaps.tolist(), abs=1e-6)


def test_figure_7_draws_placements_and_the_papers_values_beside_diamonds(drawn):
    figure, caption = drawn("fig7")
    (first, second) = (figure.axes[i].get_ylim() for i in (0, 4))
    assert first == second
    for ax in figure.axes[:2]:
        lines = [group.lines[0].get_linestyle() for group in ax.containers]
        assert len(set(lines)) == len(lines) == 4
    assert {"7.49", "6.56", "9.06", "7.67"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "in layers 1-6 of 12" in caption and "Smallest gap, Local:" in caption


def test_figure_1_has_the_papers_order_and_leaves_out_controls(drawn):
    figure, caption = drawn("fig1", "demo")
    assert caption.startswith("(a) UNet, (b) DiT on Disks")
    assert "Negative eigenvalues" in caption and "λ₂₂₄" in caption
    assert sum("clean" in text for text in texts(figure)) == 1  # shared by both
    assert "Wiener" not in drawn("fig1", "families")[1]


def test_figure_1_refuses_more_models_than_a_page_holds(drawn, monkeypatch):
    monkeypatch.setattr("bench.report.papers.an2024.fig1.MOST", 1)
    with pytest.raises(BenchError, match="shows at most 1 models, not 2"):
        drawn("fig1", "demo")


@pytest.mark.parametrize("item", ["fig1", "fig3"])
def test_pictures_that_may_not_be_shown_give_way_to_others_and_keep_their_eigenvalues(drawn, item):
    figure, caption = drawn(item, "two")
    assert "Disks" in caption and "Pictures withheld by licence" in caption
    assert "on Faces" in caption and caption.count("λ₀ = ") >= 2
    assert any(ax.images for ax in figure.axes)


def test_figure_3_prints_costs_in_a_unit_that_fits_and_says_what_part_of_a_spectrum_is_shown(drawn):
    figure, caption = drawn("fig3", "demo")
    assert "(a) UNet\nmultiply-adds: 15.3 M; parameters: 287 k" in texts(figure)
    assert "all eigenvalues" in caption
    part, _ = drawn("fig3", "families")
    spectra = [ax for ax in part.axes if ax.get_title() == "λₖ, 16 of 256"]
    assert spectra and all(ax.get_ylim()[0] == 0 for ax in spectra)


def test_figure_4_names_layers_once_and_joins_the_row_with_its_image(drawn):
    figure, caption = drawn("fig4", "demo")
    written = texts(figure)
    assert written.count("layer 1") == 1 and "each map: (HW) × (HW)" in written and "more local →" in written
    assert len(figure.artists) == 2  # a link in each row
    few, many = (
        stored("demo", metric="attention_distance", model="dit-t16", train_size=n).mean() for n in (10, 1000)
    )
    assert f"{few:.2f} at N = 10, {many:.2f} at N = 1,000" in caption
    assert shown_layers(12, 6) == [1, 3, 5, 7, 9, 11]  # as the paper
    assert shown_layers(3, 6) == [0, 1, 2] and shown_layers(7, 3) == [1, 3, 6]


def test_figure_5_has_the_formula_and_names_the_framed_rows(drawn):
    figure, _ = drawn("fig5")
    assert any("softmax" in text and "sqrt" in text for text in texts(figure))
    whole = [ax for ax in figure.axes if ax.get_xlabel() == "key token (HW)"]
    assert [[*ax.get_yticks()] for ax in whole] == [[0, 6, 14]] * 2


def test_marks_of_labels_that_read_upwards_point_as_in_level_ones(as_stored, monkeypatch):
    monkeypatch.chdir(as_stored)
    own = {
        ("disks-16", "unet-t16", 10): STILL_LEARNING,
        ("disks-16", "dit-t16", 10): OVERFITTED,
    }
    monkeypatch.setattr(Context, "words", own)
    with style.sheet():
        figure, _ = import_module(ITEMS["fig3"].module).draw(Context("demo", "fig3"))
    written = texts(figure)
    assert "N = 10 ↘" in written and "N = 10 ↙" in written  # turned by a right angle: ↗ and ↘


def test_the_word_of_a_run_is_a_mark_and_keeps_it_from_rankings(as_stored, monkeypatch):
    monkeypatch.chdir(as_stored)
    context = Context("families", "figA13")
    own = {
        ("disks-16", "unet-t16", 1000): STILL_LEARNING,
        ("disks-16", "dit-t16", 1000): SETTLED,
    }
    monkeypatch.setattr(Context, "words", own)
    with style.sheet():
        figure, _ = import_module(ITEMS["figA13"].module).draw(context)
    assert "↗" in "".join(texts(figure)) and context.marked == {STILL_LEARNING}
    frontier = next(line for line in figure.axes[0].lines if line.get_color() == "0.7")
    settled = context.rows("psnr_mean", split="test", dataset="disks-16", model="unet-t16", train_size=1000)
    assert not np.isclose(frontier.get_ydata(), settled["value"].mean()).any()
