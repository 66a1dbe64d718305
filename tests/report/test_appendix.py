"""Our own appendix: every item is drawn from what a suite has, with the right numbers, or names what it lacks."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.models.families import CONTROLS
from bench.report.context import DEFAULTS, Context
from bench.report.figures import figA11, figA15
from bench.report.figures.figA5 import along_training
from bench.report.figures.figA11 import mosaic
from bench.report.items import ITEMS
from bench.report.paired import Change, change, meaning, words
from bench.report.tables import tabA2
from bench.report.wording import protocol_in_words
from bench.results.statistics import Prior
from bench.results.tidy import read_tidy
from bench.suite import config, plan
from bench.support import paths
from bench.support.options import to_dict

DEMO = [
    "figA1",
    "figA2",
    "figA3",
    "figA4",
    "figA6",
    "figA8",
    "figA10",
    "figA11",
    "figA12",
    "figA13",
    "figA14",
]
FAMILIES = ["figA5", "figA7", "figA9", "figA15"]
# item -> what its error must name where the suite has PSNR alone
LACKING = {
    "figA1": "jacobian_eigenvalue", "figA2": "jacobian_overlap_pca", "figA4": "attention_distance",
    "figA5": "along_attention_distance", "figA7": "pixels permuted", "figA9": "halves_x0_cosine",
    "figA10": "memorized_share", "figA11": "memorized_share", "figA12": "training_loss", "figA14": "jacobian_participation",
    "figA15": "along_psnr_mean",
    "tabA2": "two measures of samples", "tabA5": "dit-t16-in-context", "tabA6": "u-dit", "tabA7": "ascend-t16",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("appendix")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make("small")
        make("many", arrays=False)
    return folder


@pytest.fixture(autouse=True)
def inside(place, monkeypatch):
    monkeypatch.chdir(place)


def table(name: str, suite: str) -> pd.DataFrame:
    assert main(["table", name, "--suite", suite]) == 0
    return pd.read_csv(paths.tables_folder(suite) / f"{name}.csv", keep_default_na=False)


@pytest.mark.parametrize(("item", "suite"), [*((i, "small") for i in DEMO), *((i, "many") for i in FAMILIES)])
def test_figures_are_drawn_and_say_what_to_see(item, suite):
    assert main(["figure", item, "--suite", suite]) == 0
    stem = paths.figures_folder(suite) / item
    record = json.loads(stem.with_suffix(".json").read_text())
    assert record["item"] == f"Figure {item[3:]}" and record["subject"] == ITEMS[item].subject
    assert len(record["caption"]) > 150 and f"Suite {suite}" in record["caption"]
    assert b"/FontFile2" in stem.with_suffix(".pdf").read_bytes()


def test_a_figure_of_the_appendix_has_the_same_bytes_twice():
    contents = []
    for _ in range(2):
        assert main(["figure", "figA10", "--suite", "small"]) == 0
        contents.append(
            [(paths.figures_folder("small") / f"figA10.{form}").read_bytes() for form in ("pdf", "png")]
        )
    assert contents[0] == contents[1]


@pytest.mark.parametrize("item", LACKING)
def test_what_a_suite_lacks_is_named_with_the_command(item, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make("small", arrays=False)
    tidy = paths.tidy_file("small")
    rows = read_tidy(tidy)
    rows[rows["metric"].str.startswith("psnr")].to_csv(tidy, index=False)
    assert main([ITEMS[item].kind, item, "--suite", "small"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and LACKING[item] in error
    assert "snakemake --cores 2 all --config suite=small" in error
    assert not list(tmp_path.rglob(f"{item}.*"))


def test_every_model_of_the_suite_has_its_row_in_table_a1():
    numbers = table("tabA1", "small")
    assert set(numbers["model"]) == {"dit-t16", "dit-t16-local", "unet-t16"} and len(numbers) == 8
    rows = read_tidy(paths.tidy_file("small"))
    wanted = rows[(rows["metric"] == "psnr_mean") & (rows["split"] == "test") & (rows["model"] == "unet-t16")]
    wanted = wanted[(wanted["dataset"] == "disks-16") & (wanted["train_size"] == 10)]["value"].item()
    got = numbers[
        (numbers["model"] == "unet-t16") & (numbers["dataset"] == "disks-16") & (numbers["train_size"] == 10)
    ]
    assert got["test_psnr_mean"].astype(float).item() == pytest.approx(wanted)


def test_table_a1_shows_the_spread_over_shuffles_and_controls():
    numbers = table("tabA1", "many")
    assert {"wiener", "memoriser", "bf-unet-t16", "vit-t16"} < set(numbers["model"])
    text = (paths.tables_folder("many") / "tabA1.md").read_text()
    assert " ± " in text and "3 shuffles" in text


def test_table_a1_bolds_trained_networks_with_the_most_shuffles_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("many", arrays=False)
    tidy = read_tidy(paths.tidy_file("many"))
    best = tidy["model"].isin(["memoriser", "dit-t16-adaln"]) & tidy["metric"].isin(["psnr_mean"])
    tidy.loc[best, "value"] += 100  # a control, and a network with one shuffle
    tidy.to_csv(paths.tidy_file("many"), index=False)
    numbers = table("tabA1", "many")
    assert set(numbers.loc[numbers["kind"] == "control", "model"]) <= set(CONTROLS)
    lines = (paths.tables_folder("many") / "tabA1.md").read_text().splitlines()
    bold = [line for line in lines if "**" in line]
    assert bold and not any("control" in line or "DiT adaLN" in line for line in bold)
    assert any("| Wiener (control) |" in line and "| – |" in line for line in lines)
    assert "clipped at 0 per step" in lines[-1]


def test_table_a1_has_the_gap_at_an_equal_train_psnr():
    numbers = table("tabA1", "many").set_index(["model", "dataset", "train_size", "recipe"])
    rows = read_tidy(paths.tidy_file("many")).query(
        "metric == 'gap_at_train_psnr' and index == 16 and recipe == ''"
    )
    wanted = rows.groupby(["model", "dataset", "train_size"])["value"].mean()
    for model in ("dit-t16", "unet-t16"):  # 17 dB is reached by one of them alone
        own = numbers.loc[(model, "disks-16", 10, "")]
        assert float(own["gap_at_train_psnr"]) == pytest.approx(wanted[model, "disks-16", 10])
    text = (paths.tables_folder("many") / "tabA1.md").read_text()
    assert "16 dB (Disks, N = 10)" in text and "17 dB" not in text


def test_table_a12_has_skill_and_psnr_by_band():
    numbers = table("tabA12", "small").set_index(["dataset", "train_size", "model"])
    own = numbers.loc[("disks-16", 1000, "unet-t16")].astype(float)
    assert [own[f"skill_band{band}"] for band in range(1, 6)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0])
    curve = read_tidy(paths.tidy_file("small")).query(
        "metric == 'psnr' and split == 'test' and model == 'unet-t16' and train_size == 1000 and dataset == 'disks-16'"
    )
    assert own["psnr_band5"] == pytest.approx(curve.sort_values("index")["value"].tail(10).mean())
    assert (
        "optimum_share_mean" not in numbers
        and "1 shuffle" in (paths.tables_folder("small") / "tabA12.md").read_text()
    )


def test_figure_a15_has_the_curve_of_every_network_and_says_where_it_ends():
    context = Context("many", "figA15")
    figure, caption = figA15.draw(context)
    models = context.ordered(context.rows("along_psnr_mean"), "model")
    assert [ax.get_title() for ax in figure.axes] == [context.label(m) for m in models]
    line = next(one for one in figure.axes[0].lines if one.get_label() == "N = 1,000, test")
    assert line.get_xdata()[-1] == 450 and line.get_ydata()[-1] == pytest.approx(15 + 450 / 200)
    assert "UNet 16.12 dB after 225 steps, 17.25 dB after 450" in caption


def test_table_a2_names_measure_and_space():
    text = "".join(table("tabA2", "small").columns)
    assert "frechet_random-conv" in text and "memorized_share_pixels" in text


def test_copies_in_a_feature_space_are_not_averaged_with_those_in_pixels(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make("small")

    def said() -> tuple[str, str]:
        _, figure = figA11.draw(Context("small", "figA11"))
        table = tabA2.build(Context("small", "tabA2")).caption
        return figure.partition("Copies among")[2], table.partition("Largest share")[2].partition(". ")[0]

    before, tidy = said(), paths.tidy_file("small")
    rows = read_tidy(tidy)
    shares = rows[rows["metric"] == "memorized_share"]
    other = shares.assign(value=1.0, protocol=shares["protocol"].str.replace("pixels", "dinov2"))
    pd.concat([rows, other]).to_csv(tidy, index=False)
    assert all(before) and said() == before


def test_equal_costs_compare_families_and_say_one_shuffle_has_no_interval():
    numbers = table("tabA4", "small")
    assert set(numbers["first"]) == {"dit-t16"} and set(numbers["second"]) == {"unet-t16"}
    assert set(numbers["equal_in"]) == {"both"} and (numbers["macs_ratio"] == 1).all()
    assert "too few shuffles" in (paths.tables_folder("small") / "tabA4.md").read_text()


def test_a_comparison_at_equal_cost_stands_once_and_counts_once():
    numbers = table("tabA4", "many")
    assert not numbers.duplicated(["dataset", "train_size", "first", "second"]).any()
    text = (paths.tables_folder("many") / "tabA4.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert f"over {len(rows)} cells" in text and len(rows) < numbers["second"].nunique() + 4


def test_ablations_hold_their_own_variants_only():
    numbers = table("tabA5", "many")
    assert set(numbers["second"]) == {"dit-t16-in-context", "dit-t16-cross-attention", "dit-t16-adaln"}
    rows = read_tidy(paths.tidy_file("many"))
    rows = rows[(rows["metric"] == "psnr_mean") & (rows["split"] == "test") & (rows["dataset"] == "disks-16")]
    base = rows[(rows["model"] == "dit-t16") & (rows["train_size"] == 10)].set_index("shuffle")["value"]
    own = numbers[numbers["train_size"] == 10]["test_psnr_first"].astype(float)
    assert base.nunique() == 3  # of these the variants have the first alone
    assert own.tolist() == pytest.approx([base[0]] * 3)


def test_encoder_and_decoder_are_variants_of_the_symmetric_network():
    numbers = table("tabA7", "many")
    assert set(numbers["first"]) == {"ascend-t16-symmetric"}
    assert set(numbers["second"]) == {"ascend-t16", "ascend-t16-decoder"}
    caption = (paths.tables_folder("many") / "tabA7.md").read_text()
    assert "six encoder and two decoder blocks" in caption and "IU-ViT" not in caption  # no such row


def test_the_protocol_marks_what_is_assumed_and_gives_all_values():
    table("tabProtocol", "many")
    text = (paths.tables_folder("many") / "tabProtocol.md").read_text()
    line = next(line for line in text.splitlines() if r"| learning\_rate |" in line)
    assert "0.004 (U-ViT); " in line and "else 0.002 | 0.0001 | **assumed** |" in line
    assert "Wiener" not in line  # controls are not trained
    assert "| frechet | reference | all | all |" in text and "| frechet | classifier | not used |" in text
    assert "null |" not in text and "{" not in text
    steps = next(iter(plan.load("many").runs.values())).training.steps
    assert f"| training | steps | {steps} | 400000 | paper |" in text
    table("tabProtocol", "small")
    assert (
        "| halves |" not in (paths.tables_folder("small") / "tabProtocol.md").read_text()
    )  # not measured there


def test_table_1_takes_local_variants_and_networks_that_have_none():
    numbers = table("tab1", "many")
    assert set(numbers["second"]) == {"dit-t16-local", ""}
    assert "unet-t16" in set(numbers.loc[numbers["second"] == "", "first"])
    text = (paths.tables_folder("many") / "tab1.md").read_text()
    assert "| Verdict |" in text and "\\[" in text


def test_a_protocol_is_said_in_words():
    drawn = "weights=ema;samples=128;sampler=ddim;steps=20"
    assert protocol_in_words(f"features=random-conv-64;{drawn};reference=train:2000") == (
        "128 samples of the averaged weights (DDIM, 20 steps), against 2000 images of the train pool, "
        "features of random-conv-64"
    )
    assert protocol_in_words("features=x;new=1") == "features of x, new 1"


def test_the_number_of_shuffles_is_that_of_the_rows_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("many", arrays=False)
    rows = read_tidy(paths.tidy_file("many"))
    rows[(rows["model"] != "unet-t16") | (rows["shuffle"] == 0)].to_csv(paths.tidy_file("many"), index=False)
    table("tab1", "many")
    text = (paths.tables_folder("many") / "tab1.md").read_text()
    assert "1 to 3 shuffles" in text and "features=" not in text


def test_kept_checkpoints_are_points_along_a_training():
    rows = along_training(Context("many", "figA5"), "attention_distance")
    training = plan.load("many").run("disks-16.dit-t16.n10.s0").training
    assert set(rows["index"]) == {*training.kept, training.steps} and set(rows["layer"]) == {1, 3}


def test_differences_are_paired_by_shuffle():
    rows = pd.DataFrame(
        {"model": list("aaabbb"), "shuffle": [0, 1, 2, 0, 1, 3], "value": [1.0, 2.0, 9.0, 1.5, 2.7, 9.0]}
    )
    found = change(rows, ("a", "b"))
    assert found.interval.mean == pytest.approx(0.6) and found.interval.count == 2
    assert found.text().startswith("+0.60 [−0.67, +1.87]")
    assert words([found], "psnr_mean", [None]) == ["no difference shown"]
    assert change(rows, ("a", "c")).text() == "" and words(
        [change(rows, ("a", "c"))], "psnr_mean", [None]
    ) == [""]


def test_verdicts_use_the_margin_of_the_metric():
    def of(first, second):
        return Change(np.array(first), np.array(second))

    same = of([20.0, 20.1, 20.2], [20.001, 20.101, 20.199])
    higher = of([20.0, 20.1, 20.2], [22.0, 22.11, 22.19])
    assert words([same, higher], "psnr_mean", [None, None]) == ["equal", "better"]
    # gaps are compared as ratios, and under their floor they are equal
    assert words([of([0.01, 0.011, 0.012], [0.02, 0.019, 0.018])], "psnr_gap_mean", [None]) == ["equal"]
    text = meaning(["better", "equal"], "psnr_mean")
    assert "over 2 cells" in text and "'equal': within 0.1 dB" in text
    assert "'equal': within 5%" in meaning(["equal"], "frechet")
    assert "not 'equal'" in meaning(["no difference shown"], "psnr_mean")
    assert meaning(["too few shuffles", ""], "psnr_mean") == "One shuffle has no interval."


def test_cells_borrow_the_spread_of_others():
    wide = Change(np.array([20.0, 20.0, 20.0]), np.array([20.2, 20.9, 21.6]))
    assert words([wide], "psnr_mean", [None]) == ["no difference shown"]
    assert words([wide], "psnr_mean", [Prior(2.0, 0.01)]) == ["better"]


def test_a_mosaic_puts_rows_beneath_each_other():
    first = np.zeros((3, 4, 4, 1), np.uint8)
    assert mosaic([first, first + 9]).shape == (12, 18, 1)


def test_an_item_that_is_not_listed_shows_all_by_the_defaults_of_the_suite_file():
    assert to_dict(config.ItemOptions()) == DEFAULTS


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_all_tables_fit_an_article_of_five_and_a_half_inches(tmp_path):
    head = (
        r"\documentclass{article}\usepackage[textwidth=5.5in,textheight=9in]{geometry}"
        r"\usepackage{array,booktabs,longtable}\begin{document}"
    )
    for name in ("tab1", "tabA1", "tabA2", "tabA4", "tabA5", "tabA6", "tabA7", "tabClaims", "tabProtocol"):
        table(name, "many")
        body = (paths.tables_folder("many") / f"{name}.tex").read_text()
        (tmp_path / "t.tex").write_text(head + body + r"\end{document}")
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
        for _ in range(1 + ("longtable" in body)):  # column widths of a long table settle in the second run
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
            assert done.returncode == 0, done.stdout[-2000:]
        log = (tmp_path / "t.log").read_text(errors="replace")
        assert "Overfull" not in log and "Float too large" not in log, (
            name,
            log[log.find("Overfull") :][:300],
        )
