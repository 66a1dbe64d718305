"""The quality report: what is impossible fails, what is poor is noted, what cannot be checked says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.data import optima
from bench.diffusion.schedule import make_schedule
from bench.results.tidy import COLUMNS, METRICS
from bench.suite import config, plan
from bench.support import paths
from bench.support.arrays import save_arrays

SUITE = """
title: Checked
training: {steps: 100, batch: 4, ema: 0.9}
measure:
  psnr: {images: 40, steps: 5}
  jacobian: {}
  memorization: {}
  samples: {}
  frechet: {features: random-conv}
runs:
  - {datasets: [gaussian-16], models: [unet-t16, identity, wiener, memoriser], train_sizes: [10]}
items:
  tabQuality: {}
"""
RUN = "gaussian-16.unet-t16.n10.s0"
PROTOCOL = "images=40;steps=5;clip=true"
GRID = make_schedule("linear", 1000).respace(5)
SIGMA = np.array([GRID.sigma(step) for step in range(5)])
BEST = np.array([optima.gaussian_error(16, sigma / 2) for sigma in SIGMA])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A suite of one network and three controls; call it with errors relative to the optimum, by model."""
    monkeypatch.chdir(tmp_path)
    suites = tmp_path / "config"
    (suites / "suites").mkdir(parents=True)
    for name in ("models.yaml", "datasets.yaml"):
        (suites / name).write_bytes((config.folder() / name).read_bytes())
    (suites / "suites" / "checked.yaml").write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(suites))

    def write(more=(), without=(), **network):
        suite = plan.load("checked")
        suite.write()
        factors = {"identity": (9, 9), "wiener": (3, 3), "memoriser": (1, 8), "unet-t16": (2, 2)}
        factors["unet-t16"] = factors["vit-t16"] = (network.get("train", 2), network.get("test", 2))
        rows = []
        for name, run in suite.runs.items():
            if run.model.name in without:
                continue
            rng = np.random.default_rng(0)  # the same images and noise
            spread = np.exp(0.2 * rng.standard_normal((2, 40, 5)))
            psnr = [-10 * np.log10(f * BEST * s) for f, s in zip(factors[run.model.name], spread)]
            file = paths.arrays_folder("checked", name) / "psnr.npz"
            save_arrays(file, train=psnr[0], test=psnr[1], sigma=SIGMA)
            rows += [row(run, "psnr_mean", v.mean(), s, PROTOCOL) for v, s in zip(psnr, ("train", "test"))]
        rows += [row(suite.runs[RUN], *one) for one in more]
        table = pd.DataFrame(rows, columns=COLUMNS).astype({"index": "Int64"})
        table.to_csv(paths.tidy_file("checked"), index=False)

    return write


def row(run, metric, value, split="", protocol="", index=None):
    same = {key: getattr(run, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    return same | {
        "model": run.model.name, "metric": metric, "value": value, "split": split, "protocol": protocol,
        "unit": METRICS[metric][0], "index_name": "k" if index is not None else "", "index": index,
        "code": "c", "data_hash": "d",
    }  # fmt: skip


def check():
    """Run the verb; return its exit status and the findings of the network, by check."""
    status = main(["quality", "--suite", "checked"])
    table = pd.read_csv("results/checked/quality.csv", keep_default_na=False)
    own = table[table["model"] == "unet-t16"]
    return status, own.set_index("check")[["verdict", "text"]].T.to_dict()


def test_a_sound_network_passes_and_needs_no_torch(place, capsys):
    place()
    status, found = check()
    assert status == 0 and {f["verdict"] for name, f in found.items() if name != "trained"} == {"pass"}
    assert {"range", "train optimum", "test optimum", "test above identity", "average", "pools"} <= set(found)
    assert found["trained"] == {
        "verdict": "unchecked",
        "text": "psnr was not measured",
    }  # no linear filter beside it
    out = capsys.readouterr()
    assert "0 failed" in out.out + out.err and "0 noted" in out.out + out.err
    code = "import sys; from bench.cli import main; main(['quality', '--suite', 'checked']); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_what_cannot_be_fails_with_the_numbers(place, capsys):
    place(train=0.8, test=0.7)
    status, found = check()
    assert status == 1
    assert (
        found["train optimum"]["verdict"] == "fail"
        and "above the memoriser's" in found["train optimum"]["text"]
    )
    assert (
        found["test optimum"]["verdict"] == "fail"
        and "the optimum of Gaussian" in found["test optimum"]["text"]
    )
    error = capsys.readouterr().err
    assert "2 checks of suite 'checked' failed, the first: gaussian-16.unet-t16.n10.s0: " in error
    page = Path("results/checked/quality.md").read_text()
    assert "**fail**" in page and "2 failed" in page


@pytest.mark.parametrize(
    "more, text",
    [
        (("memorized_share", 1.2), "memorized_share is 1.2, above 1, which is impossible"),
        (("frechet", -0.5), "frechet is -0.5, below 0, which is impossible"),
        (("psnr", 70.0, "train"), "psnr is 70, above 58.9"),
    ],
)
def test_a_value_outside_its_range_fails(place, more, text):
    place([more])
    status, found = check()
    assert status == 1 and text in found["range"]["text"]


def test_an_eigenvalue_above_the_singular_values_fails(place):
    where = "operator=x0;step=1;image=0"
    values = [
        ("jacobian_eigenvalue", 2.0, "test", where, 0),
        ("jacobian_singular_value", 1.5, "test", where, 0),
    ]
    place(values)
    status, found = check()
    assert status == 1 and "2, above the largest singular value 1.5" in found["jacobian"]["text"]


def test_what_is_poor_is_noted_and_does_not_fail(place):
    more = [("loss", 1.3, "train"), ("memorized_share", 0.2, "test", "space=pixels;images=40")]
    more += [("linear_psnr_mean", 99.0, "train")]
    place(more, train=30, test=12)
    path = config.suite_path("checked")
    path.write_text(path.read_text().replace("ema: 0.9}", "ema: 0.999}"))
    plan.load("checked").write()
    status, found = check()
    assert status == 0
    notes = {name for name, f in found.items() if f["verdict"] == "note"}
    assert notes == {"trained", "test above identity", "average", "loss", "copies", "pools"}
    assert found["trained"]["text"].startswith("not fitted: train PSNR")
    assert "90.48% of the initialisation" in found["average"]["text"]
    assert "20.0% of the test images" in found["copies"]["text"] and "easier" in found["pools"]["text"]


@pytest.mark.parametrize("training", ["{prediction: v}", "{weighting: min-snr}"])
def test_a_loss_of_another_target_is_not_judged(place, training):
    path = config.suite_path("checked")
    path.write_text(
        path.read_text().replace("train_sizes: [10]}", f"train_sizes: [10], training: {training}}}")
    )
    place([("loss", 1.3, "train")])
    assert "loss" not in check()[1]


def test_the_report_has_a_row_for_each_check_model_and_dataset(place):
    path = config.suite_path("checked")
    path.write_text(path.read_text().replace("train_sizes: [10]}", "train_sizes: [10], shuffles: [0, 1]}"))
    place(test=12)
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    rows = [
        line.split(" | ") for line in Path("results/checked/tables/tabQuality.md").read_text().splitlines()
    ]
    own = [row for row in rows if "test above identity" in row]
    assert len(own) == 1 and own[0][1] == "UNet" and own[0][4] == "2"
    assert own[0][5].endswith(" dB") and "N = 10, shuffle 0: test PSNR" in own[0][7]


def test_an_average_whose_decay_rises_forgets_its_initialisation(place):
    path = config.suite_path("checked")
    path.write_text(path.read_text().replace("ema: 0.9}", "ema: 0.999, ema_ramp: true}"))
    place()
    assert check()[1]["average"]["verdict"] == "pass"


def test_a_note_without_a_number_shows_none(place):
    place(train=30, test=12, more=[("linear_psnr_mean", 99.0, "train")])
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    assert "nan" not in Path("results/checked/tables/tabQuality.md").read_text()


def test_a_note_that_is_the_same_of_all_models_stands_once(place):
    path = config.suite_path("checked")
    path.write_text(path.read_text().replace("[unet-t16,", "[unet-t16, vit-t16,").replace("0.9}", "0.999}"))
    place(test=3)
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    page = Path("results/checked/tables/tabQuality.md").read_text()
    assert page.count("| average |") == 1 and "| 2 models | average | note | 2 | 0.905 | 0.01 |" in page


def test_runs_of_half_the_steps_are_no_runs_of_their_own(place):
    path = config.suite_path("checked")
    path.write_text(path.read_text().replace("runs:", "half_budget: true\nruns:").replace("0.9}", "0.999}"))
    place([("linear_psnr_mean", 99.0, "train")])
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    page = Path("results/checked/tables/tabQuality.md").read_text()
    assert (
        "Quality of 4 runs" in page and "half-budget" not in page and "the run was not measured" not in page
    )
    assert "| trained | note | 1 |  |  |" in page and page.count("Suite checked: 100 training steps") == 1


def test_nothing_to_note_is_said_in_words(place):
    place()
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    assert "| Nothing to note |" in Path("results/checked/tables/tabQuality.md").read_text()


def test_a_missing_control_is_said_and_an_item_shows_the_report(place):
    place(without=("memoriser", "wiener"))
    status, found = check()
    assert status == 0 and found["train optimum"]["verdict"] == "unchecked"
    assert "no memoriser with the same images" in found["train optimum"]["text"]
    assert main(["table", "tabQuality", "--suite", "checked"]) == 0
    page = Path("results/checked/tables/tabQuality.md").read_text()
    assert "Not checked: no memoriser with the same images" in page


def test_a_suite_that_was_not_measured(place, capsys):
    assert main(["quality", "--suite", "checked"]) == 1
    assert "'checked' was not measured here" in capsys.readouterr().err
