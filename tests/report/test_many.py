"""Items of a suite with many networks, N and datasets show the paper's question; a suite in part says what it lacks."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import SimpleNamespace

import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.report import curves, render, site, style
from bench.report.context import Context
from bench.report.items import ITEMS, Item
from bench.report.papers.an2024 import roles
from bench.results import training_state
from bench.results.tidy import read_tidy
from bench.support import paths

SUITE = "windows"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(SUITE)
    return folder


@pytest.fixture
def drawn(folder, monkeypatch):
    monkeypatch.chdir(folder)

    @cache
    def draw(item):
        context = Context(SUITE, item)
        with style.sheet():
            module = import_module(ITEMS[item].module)
            return module.draw(context) if ITEMS[item].kind == "figure" else module.build(context)

    return draw


@pytest.fixture
def half_way(tmp_path, monkeypatch):
    """The suite before placements, other windows and the largest N of the UNet were measured."""
    monkeypatch.chdir(tmp_path)
    make(SUITE)
    table = read_tidy(paths.tidy_file(SUITE))
    late = table["model"].isin(["dit-t16-local-mix", "dit-t16-local-smaller"])
    late |= (table["model"] == "unet-t16") & (table["train_size"] == 1000)
    table[~late].to_csv(paths.tidy_file(SUITE), index=False)


def headings(figure):
    return [part._suptitle.get_text() for part in figure.findobj(lambda a: getattr(a, "_suptitle", None))]


def ticks(ax):
    return [label.get_text().split("\n")[0] for label in ax.get_xticklabels()]


def test_figures_show_the_main_networks_and_a_readable_number_of_n(drawn):
    assert headings(drawn("fig1")[0]) == ["(a) UNet\nN = 1,000", "(b) DiT\nN = 1,000"]
    left = [ax.get_ylabel() for ax in drawn("fig3")[0].axes if ax.get_ylabel().startswith("N =")]
    assert left == ["N = 10", "N = 10", "N = 1,000", "N = 1,000"]
    rows = [ax.get_ylabel() for ax in drawn("fig4")[0].axes if "N = " in ax.get_ylabel()]
    assert (
        len({row.split("N = ")[1].split("\n")[0] for row in rows}) == 3 and "permuted" not in drawn("fig4")[1]
    )
    titles = [ax.get_title() for ax in drawn("fig2")[0].axes[:3]]
    assert titles == ["(a) Train PSNR (dB)", "Test PSNR (dB) ↑", "(b) PSNR gap (dB) ↓"]


def test_figure_6_and_table_1_are_about_the_main_windows(drawn):
    assert len(headings(drawn("fig6")[0])) == 1
    pairs = {name for name in drawn("tab1").frame["Models"] if "→" in name}
    assert pairs == {"DiT → w/ Local"}
    assert set(drawn("tabCapacity").frame["Model"]) == {"DiT w/ Local"}


def test_placements_and_windows_are_shown_where_they_were_compared(drawn):
    figure, _ = drawn("fig7")
    assert [ticks(ax) for ax in figure.axes if ticks(ax) and ax.get_xlabel() is not None][-1] == ["N = 100"]
    assert drawn("tab2").frame.columns.tolist() == ["Model", "Disks, N = 100 ↓"]
    assert " ± " in drawn("tab2").frame.iloc[1, 1]
    assert set(drawn("tab3").frame["N"]) == {"100"}
    assert [ticks(ax) for ax in drawn("fig8")[0].axes] == [["N = 100"]]
    assert ticks(drawn("figA7")[0].axes[0]) == ["N = 100"]


def test_a_legend_names_what_is_shown_before_what_it_is_held_against(drawn):
    figure, _ = drawn("fig6")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["global attention", "w/ Local", "level of the left bar", "identity"]


def test_a_suite_in_part_draws_what_it_can_and_says_what_is_missing(half_way, capsys):
    assert main(["items", "--suite", SUITE]) == 0
    said = "".join(capsys.readouterr())
    for item in ("fig7", "fig8", "tab2", "tab3"):
        assert f"{item} of suite '{SUITE}' needs " in said
    assert "Not measured yet: 2 of 26 planned runs (Local (mix) at N = 100)." in said
    assert "Not measured" not in (paths.figures_folder(SUITE) / "fig6.rst").read_text()
    caption = (paths.figures_folder(SUITE) / "fig3.rst").read_text()
    assert "Not measured yet: 2 of 16 planned runs (UNet at N = 1,000)." in caption
    context = Context(SUITE, "fig3")
    with style.sheet():
        figure, _ = import_module(ITEMS["fig3"].module).draw(context)
    assert "N = 1,000: not measured" in [text.get_text() for part in figure.subfigs for text in part.texts]


def test_further_shuffles_of_what_is_shown_are_counted_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(SUITE, arrays=False)
    table = read_tidy(paths.tidy_file(SUITE))
    unet = (table["model"] == "unet-t16") & (table["train_size"] == 10)
    table[~(unet & (table["shuffle"] > 0))].to_csv(paths.tidy_file(SUITE), index=False)
    said = Context(SUITE, "fig2").missing("psnr")
    assert "of cells that are shown, in other shuffles or recipes)" in said and "UNet at" not in said
    table[~unet].to_csv(paths.tidy_file(SUITE), index=False)
    assert "UNet at N = 10" in Context(SUITE, "fig2").missing("psnr")


def test_suites_are_drawn_side_by_side_and_an_unknown_one_is_one_sentence(half_way, capfd):
    assert main(["items", "--suite", SUITE, "--suite", "absent"]) == 1
    said = capfd.readouterr().err
    assert f"figures/{SUITE}/fig6" in said
    assert "Suite 'absent' was not measured here" in said and "Traceback" not in said


def test_the_gain_of_the_best_checkpoint_is_taken_of_the_same_images(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(SUITE)
    table = read_tidy(paths.tidy_file(SUITE))
    last = table[(table["metric"] == "along_psnr_mean") & (table["split"] == "test")]
    best = last[last["index"] == last["index"].max()].assign(metric="best_psnr_mean", index=pd.NA)
    table = pd.concat([table, best.assign(value=best["value"] + 0.25)])
    table.to_csv(paths.tidy_file(SUITE), index=False)
    frame = import_module(ITEMS["tabA1"].module).build(Context(SUITE, "tabA1")).frame
    assert set(frame["Gain of stopping early (dB)"]) == {"0.25", ""}


def test_a_page_of_the_site_has_each_heading_once(half_way):
    assert main(["items", "--suite", SUITE]) == 0
    lines = [line for line in site.page(SUITE, "figures").splitlines() if line.startswith("## ")]
    assert len(lines) == len(set(lines)) > 1
    assert "Not drawn (`bench items` says what they lack): Figure 7: " in site.page(SUITE, "figures")


def test_table_1_shows_controls_where_networks_were_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(SUITE, arrays=False)
    table = read_tidy(paths.tidy_file(SUITE))
    table[(table["train_size"] != 300) | table["model"].isin(["identity", "wiener"])].to_csv(
        paths.tidy_file(SUITE), index=False
    )
    frame = import_module(ITEMS["tab1"].module).build(Context(SUITE, "tab1")).frame
    controls = frame[frame["Models"].str.endswith(" (control)")]
    assert set(controls["N"]) == {"10", "100", "1,000"}


def test_a_network_beneath_pairs_is_shown_at_their_shuffles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(SUITE, arrays=False)
    table = read_tidy(paths.tidy_file(SUITE))
    table = table[(table["shuffle"] == 0) | (table["model"] == "unet-t16")]
    assert table["shuffle"].nunique() > 1
    table.to_csv(paths.tidy_file(SUITE), index=False)
    numbers = import_module(ITEMS["tab1"].module).build(Context(SUITE, "tab1")).numbers
    [row] = [row for row in numbers.itertuples() if row.first == "unet-t16" and row.train_size == 10]
    unet = table[
        (table["model"] == "unet-t16") & (table["train_size"] == 10) & (table["metric"] == "frechet")
    ]
    assert row.frechet_first == unet[unet["shuffle"] == 0]["value"].item() != unet["value"].mean()


GROUPS = {"Local": {"head": "local", "mix": "mix", "tail": "tail"}}


def placed(shuffles: dict[str, list[int]]) -> pd.DataFrame:
    rows = [
        ("disks", model, 100, shuffle, 1.0 + shuffle) for model in shuffles for shuffle in shuffles[model]
    ]
    return pd.DataFrame(rows, columns=["dataset", "model", "train_size", "shuffle", "value"])


def test_placements_are_compared_at_the_shuffles_that_most_of_them_have():
    found = roles.compared(placed({"dit": [0, 1, 2], "local": [0, 1, 2], "mix": [0], "tail": [0]}), GROUPS)
    assert set(found["shuffle"]) == {0} and set(found["model"]) == {"dit", "local", "mix", "tail"}
    whole = placed({model: [0, 1, 2] for model in ("dit", "local", "mix", "tail")})
    assert len(roles.compared(whole, GROUPS)) == len(whole)
    assert roles.compared(placed({"dit": [0], "local": [0, 1]}), GROUPS).empty


@pytest.mark.parametrize(
    ("ranked", "words"),
    [
        ({"local", "mix", "tail"}, "head in 1 of 1 cells"),
        ({"mix", "tail"}, "none is named while a placement is still learning or not fitted"),
        (set(), "none is named while a placement is still learning or not fitted"),
    ],
)
def test_the_best_placement_is_named_where_all_may_be_ranked(ranked, words):
    table = pd.DataFrame(
        [
            ("disks", model, 100, "Local", place, value)
            for (place, model), value in zip(GROUPS["Local"].items(), (1, 2, 3))
        ],
        columns=["dataset", "model", "train_size", "windows", "placement", "value"],
    )
    context = SimpleNamespace(ranked=lambda model, dataset, size: model in ranked)
    assert roles.in_words(roles.best(context, table, "value")) == words


def test_a_network_looks_the_same_in_all_figures_of_a_suite():
    models = {f"m{k}": {} for k in range(12)} | {"wiener": {}}
    context = SimpleNamespace(plan={"models": models}, is_control=lambda model: model == "wiener")
    assert curves.places(context, ["m2", "wiener", "m0"]) == {"m2": 2, "m0": 0}
    alike = ["m0", f"m{len(style.PALETTE)}"]  # the same colour of the palette: told apart by their order
    assert curves.places(context, alike) == {alike[0]: 0, alike[1]: 1}


def test_signs_of_cells_are_written_with_their_n_and_defined_in_the_caption():
    signs = SimpleNamespace(mark=lambda model, dataset, n: {10: " ↘", 1000: " ✗"}.get(n, ""))
    assert Context.marks(signs, "unet", "disks", [10, 100, 1000]) == "\n↘ N = 10\n✗ N = 1,000"
    assert Context.marks(SimpleNamespace(mark=lambda *cell: " ✗"), "unet", "disks", [1, 10]) == "\n✗ every N"
    assert Context.marks(signs, "unet", "disks", [100]) == ""
    context = SimpleNamespace(marked={training_state.NOT_FITTED})
    caption = render._complete(context, Item("Figure", measures=()), "Drawn.")
    assert caption == "Drawn. ✗ not fitted: train PSNR below that of the pool's linear filter."


def test_the_caption_names_the_windows_that_were_compared():
    assert roles.changes_in_words(["smaller", "larger"]) == "smaller windows or larger windows"
