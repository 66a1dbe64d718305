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
from bench.report.context import DEFAULTS, Context
from bench.report.figures.figA5 import along_training
from bench.report.figures.figA11 import mosaic
from bench.report.items import ITEMS
from bench.report.paired import difference, judged, meaning
from bench.report.protocols import protocol_in_words
from bench.report.quality import CONTROLS
from bench.results.statistics import paired_interval
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
FAMILIES = ["figA5", "figA7", "figA9"]
# item -> what its error must name where the suite has PSNR alone
LACKING = {
    "figA1": "jacobian_eigenvalue", "figA2": "jacobian_overlap_pca", "figA4": "attention_distance",
    "figA5": "along_attention_distance", "figA7": "pixels permuted", "figA9": "halves_x0_cosine",
    "figA10": "memorized_share", "figA11": "memorized_share", "figA12": "training_loss", "figA14": "jacobian_participation",
    "tabA2": "two measures of samples", "tabA5": "dit-t16-in-context", "tabA6": "u-dit", "tabA7": "ascend-t16",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("appendix")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make("demo")
        make("families", arrays=False)
    return folder


@pytest.fixture(autouse=True)
def inside(place, monkeypatch):
    monkeypatch.chdir(place)


def table(name: str, suite: str) -> pd.DataFrame:
    assert main(["table", name, "--suite", suite]) == 0
    return pd.read_csv(paths.tables_folder(suite) / f"{name}.csv", keep_default_na=False)


@pytest.mark.parametrize(
    ("item", "suite"), [*((i, "demo") for i in DEMO), *((i, "families") for i in FAMILIES)]
)
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
        assert main(["figure", "figA10", "--suite", "demo"]) == 0
        contents.append(
            [(paths.figures_folder("demo") / f"figA10.{form}").read_bytes() for form in ("pdf", "png")]
        )
    assert contents[0] == contents[1]


@pytest.mark.parametrize("item", LACKING)
def test_what_a_suite_lacks_is_named_with_the_command(item, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make("demo", arrays=False)
    tidy = paths.tidy_file("demo")
    rows = read_tidy(tidy)
    rows[rows["metric"].str.startswith("psnr")].to_csv(tidy, index=False)
    assert main([ITEMS[item].kind, item, "--suite", "demo"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and LACKING[item] in error
    assert "snakemake --cores 2 all --config suite=demo" in error
    assert not list(tmp_path.rglob(f"{item}.*"))


def test_every_model_of_the_suite_has_its_row_in_table_a1():
    numbers = table("tabA1", "demo")
    assert set(numbers["model"]) == {"dit-t16", "dit-t16-local", "unet-t16"} and len(numbers) == 8
    rows = read_tidy(paths.tidy_file("demo"))
    wanted = rows[(rows["metric"] == "psnr_mean") & (rows["split"] == "test") & (rows["model"] == "unet-t16")]
    wanted = wanted[(wanted["dataset"] == "disks-16") & (wanted["train_size"] == 10)]["value"].item()
    got = numbers[
        (numbers["model"] == "unet-t16") & (numbers["dataset"] == "disks-16") & (numbers["train_size"] == 10)
    ]
    assert got["test_psnr_mean"].astype(float).item() == pytest.approx(wanted)


def test_table_a1_shows_the_spread_over_shuffles_and_controls():
    numbers = table("tabA1", "families")
    assert {"wiener", "memoriser", "bf-unet-t16", "vit-t16"} < set(numbers["model"])
    text = (paths.tables_folder("families") / "tabA1.md").read_text()
    assert " ± " in text and "3 shuffles" in text


def test_table_a1_bolds_trained_networks_with_the_most_shuffles_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("families", arrays=False)
    tidy = read_tidy(paths.tidy_file("families"))
    best = tidy["model"].isin(["memoriser", "dit-t16-adaln"]) & tidy["metric"].isin(["psnr_mean"])
    tidy.loc[best, "value"] += 100  # a control, and a network with one shuffle
    tidy.loc[(tidy["model"] == "wiener") & (tidy["metric"] == "parameters"), "value"] = 0
    tidy.to_csv(paths.tidy_file("families"), index=False)
    numbers = table("tabA1", "families")
    assert set(numbers.loc[numbers["kind"] == "control", "model"]) == set(CONTROLS)
    lines = (paths.tables_folder("families") / "tabA1.md").read_text().splitlines()
    bold = [line for line in lines if "**" in line]
    assert bold and all("| trained |" in line and "DiT adaLN" not in line for line in bold)
    assert any("| Wiener | control |" in line and "| – |" in line for line in lines)
    assert "clipped at 0 per step" in lines[-1]


def test_table_a2_names_measure_and_space():
    text = "".join(table("tabA2", "demo").columns)
    assert "frechet_random-conv" in text and "memorized_share_pixels" in text


def test_equal_costs_compare_families_and_say_one_shuffle_has_no_interval():
    numbers = table("tabA4", "demo")
    assert set(numbers["first"]) == {"dit-t16"} and set(numbers["second"]) == {"unet-t16"}
    assert set(numbers["equal_in"]) == {"both"} and (numbers["macs_ratio"] == 1).all()
    assert "too few shuffles" in (paths.tables_folder("demo") / "tabA4.md").read_text()


def test_a_comparison_at_equal_cost_stands_once_and_counts_once():
    numbers = table("tabA4", "families")
    assert not numbers.duplicated(["dataset", "train_size", "first", "second"]).any()
    cells = numbers["test_psnr_low"].replace("", np.nan).notna().sum()
    assert f"over the {cells} cells" in (paths.tables_folder("families") / "tabA4.md").read_text()


def test_ablations_hold_their_own_variants_only():
    numbers = table("tabA5", "families")
    assert set(numbers["variant"]) == {"dit-t16-in-context", "dit-t16-cross-attention", "dit-t16-adaln"}
    rows = read_tidy(paths.tidy_file("families"))
    rows = rows[(rows["metric"] == "psnr_mean") & (rows["split"] == "test") & (rows["dataset"] == "disks-16")]
    base = rows[(rows["model"] == "dit-t16") & (rows["train_size"] == 10)].set_index("shuffle")["value"]
    own = numbers[numbers["train_size"] == 10]["baseline_test_psnr"].astype(float)
    assert base.nunique() == 3  # of these the variants have the first alone
    assert own.tolist() == pytest.approx([base[0]] * 3)


def test_encoder_and_decoder_are_variants_of_the_symmetric_network():
    numbers = table("tabA7", "families")
    assert set(numbers["baseline"]) == {"ascend-t16-symmetric"}
    assert set(numbers["variant"]) == {"ascend-t16", "ascend-t16-decoder"}
    caption = (paths.tables_folder("families") / "tabA7.md").read_text()
    assert "six encoder and two decoder blocks" in caption and "IU-ViT" not in caption  # no such row


def test_the_protocol_marks_what_is_assumed_and_gives_all_values():
    table("tabProtocol", "families")
    text = (paths.tables_folder("families") / "tabProtocol.md").read_text()
    line = next(line for line in text.splitlines() if "| learning_rate |" in line)
    assert "0.004 (U-ViT); " in line and "else 0.002 | 0.0001 | **assumed** |" in line
    assert "Wiener" not in line  # controls are not trained
    assert "| frechet | reference | all | all |" in text and "| frechet | classifier | not used |" in text
    assert "null |" not in text and "{" not in text
    steps = next(iter(plan.load("families").runs.values())).training.steps
    assert f"| training | steps | {steps} | 400000 | paper |" in text
    table("tabProtocol", "demo")
    assert (
        "| halves |" not in (paths.tables_folder("demo") / "tabProtocol.md").read_text()
    )  # not measured there


def test_table_1_takes_local_variants_and_networks_that_have_none():
    numbers = table("tab1", "families")
    assert set(numbers["variant"]) == {"dit-t16-local", ""}
    assert "unet-t16" in set(numbers.loc[numbers["variant"] == "", "baseline"])
    text = (paths.tables_folder("families") / "tab1.md").read_text()
    assert "| Difference | Verdict |" in text and "[" in text


def test_a_protocol_is_said_in_words():
    drawn = "weights=ema;samples=128;sampler=ddim;steps=20"
    assert protocol_in_words(f"features=random-conv-64;{drawn};reference=train:2000") == (
        "128 samples of the averaged weights (DDIM, 20 steps), against 2000 images of the train pool, "
        "features of random-conv-64"
    )
    assert protocol_in_words("features=x;new=1") == "features of x, new 1"


def test_the_number_of_shuffles_is_that_of_the_rows_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("families", arrays=False)
    rows = read_tidy(paths.tidy_file("families"))
    rows[(rows["model"] != "unet-t16") | (rows["shuffle"] == 0)].to_csv(
        paths.tidy_file("families"), index=False
    )
    table("tab1", "families")
    text = (paths.tables_folder("families") / "tab1.md").read_text()
    assert "1 to 3 shuffles" in text and "features=" not in text


def test_kept_checkpoints_are_points_along_a_training():
    rows = along_training(Context("families", "figA5"), "attention_distance")
    training = plan.load("families").run("disks-16.dit-t16.n10.s0").training
    assert set(rows["steps"]) == {*training.snapshots, training.steps} and set(rows["layer"]) == {1, 3}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_all_tables_compile(tmp_path):
    bodies = []
    for suite, names in (
        ("families", ("tab1", "tabA1", "tabA4", "tabA5", "tabA7", "tabProtocol", "tabClaims")),
        ("demo", ("tabA2",)),
    ):
        for name in names:
            table(name, suite)
            bodies.append((paths.tables_folder(suite) / f"{name}.tex").read_text() + r"\clearpage")
    head = r"\documentclass{article}\usepackage[landscape]{geometry}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(head + "\n".join(bodies) + r"\end{document}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_differences_are_paired_by_shuffle():
    rows = pd.DataFrame(
        {"model": list("aaabbb"), "shuffle": [0, 1, 2, 0, 1, 3], "value": [1.0, 2.0, 9.0, 1.5, 2.7, 9.0]}
    )
    found = difference(rows, ("a", "b"))
    assert found.mean == pytest.approx(0.6) and found.count == 2
    (one,) = judged([found], "higher")
    assert one.text().startswith("+0.60 [−0.67, +1.87]") and one.word == "no difference shown"
    assert judged([difference(rows, ("a", "c"))], "higher")[0].text() == ""


def test_a_word_says_where_only_the_correction_hides_a_difference():
    clear, weak = paired_interval([1.0, 1.1, 1.05]), paired_interval([0.5, 0.6, 0.9])
    words = [d.word for d in judged([clear, *[weak] * 9], "higher")]
    assert words[:2] == ["better", "no difference shown (not after correction)"]
    assert judged([weak], "lower")[0].word == "worse"
    text = meaning(judged([clear, *[weak] * 9], "higher"))
    assert "over the 10 cells" in text and "'not after correction'" in text
    assert "not after correction" not in meaning(judged([weak], "higher"))


def test_a_mosaic_puts_rows_beneath_each_other():
    first = np.zeros((3, 4, 4, 1), np.uint8)
    assert mosaic([first, first + 9]).shape == (12, 18, 1)


def test_an_item_that_is_not_listed_shows_all_by_the_defaults_of_the_suite_file():
    assert to_dict(config.ItemOptions()) == DEFAULTS
