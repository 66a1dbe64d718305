"""The controls pass through training and every measurement by the same commands as a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.results.tidy import read_tidy
from bench.suite import plan
from bench.support import paths

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = """
title: The controls
training: {steps: 4, snapshots: [2]}
measure:
  psnr: {images: 12, steps: 4}
  jacobian: {step_indices: [1], steps: 4, vectors: [0, 7]}
  attention: {images: 1, step_indices: [1], steps: 4}
  samples: {count: 8, sampler: ddpm, steps: 3}
  frechet: {features: random-conv}
  memorization: {features: null}
  along: {psnr: {images: 2, steps: 2}}
  patch_size: {machines: [local], sizes: [3, 5], noises: 2, steps: 3}
  agreement: {machines: [local, ideal], noises: 2, steps: 3}
runs:
  - {datasets: [disks-8], models: [identity, wiener, memoriser, local-score], train_sizes: [10]}
"""


@pytest.fixture(scope="module")
def tidy(tmp_path_factory):
    """The tidy table of a suite of controls, made by the commands of its rules."""
    folder = tmp_path_factory.mktemp("controls")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config" / "suites" / "controls.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_CONFIG", str(folder / "config"))
        data = paths.dataset_folder("disks-8")
        run(f"data build disks-8 --out {data}")
        run(f"data subset {data} --shuffle 0 --out {paths.subset_file('disks-8', 0)}")
        run("check --suite controls")
        suite = plan.load("controls")
        for name in suite.runs:
            run(f"train {name} --suite controls --device cpu")
            run(f"measure all {name} --suite controls --device cpu")
        run("tidy --suite controls")
        yield read_tidy(paths.tidy_file("controls"))


def run(words: str) -> None:
    assert main(words.split()) == 0, words


def value(tidy, model, metric, split=None):
    rows = tidy[(tidy["model"] == model) & (tidy["metric"] == metric)]
    return rows[rows["split"] == split]["value"] if split else rows["value"]


def test_every_metric_is_there_and_finite(tidy):
    for model in ("identity", "wiener", "memoriser", "local-score"):
        metrics = set(tidy[tidy["model"] == model]["metric"])
        assert {"psnr", "psnr_mean", "psnr_gap_mean", "frechet", "jacobian_eigenvalue", "macs"} <= metrics
        assert {"memorized_share", "jacobian_trace"} <= metrics
        assert np.isfinite(tidy[tidy["model"] == model]["value"]).all()
        assert value(tidy, model, "parameters").item() == 0


def test_the_memoriser_agrees_with_the_ideal_denoiser(tidy):
    own = tidy[(tidy["model"] == "memoriser") & (tidy["split"] == "ideal")]
    assert np.allclose(own[own["metric"] == "agreement_correlation"]["value"], 1)
    assert np.allclose(own[own["metric"] == "agreement_sample_mse"]["value"], 0, atol=1e-6)
    assert set(value(tidy, "memoriser", "patch_size")) <= {3, 5}


def test_the_controls_bound_each_other(tidy):
    train = {m: value(tidy, m, "psnr_mean", "train").item() for m in ("identity", "wiener", "memoriser")}
    assert train["identity"] < train["wiener"] < train["memoriser"]
    assert value(tidy, "memoriser", "psnr_gap_mean").item() > 5


def test_cost_of_a_control_counts_what_it_was_fitted_to(tidy):
    assert value(tidy, "identity", "macs").item() == 0
    assert value(tidy, "wiener", "macs").item() == 2 * 9 * 64  # of rank N - 1
    assert value(tidy, "memoriser", "macs").item() == 2 * 10 * 64
    assert value(tidy, "local-score", "macs").item() > 1000


def test_nothing_that_the_controls_measure_is_impossible(tidy, capsys):
    run("quality --suite controls")
    found = pd.read_csv(paths.suite_folder("controls") / "quality.csv", keep_default_na=False)
    best = found[found["check"] == "train optimum"].set_index("model")["verdict"]
    assert best.to_dict() == dict.fromkeys(("identity", "wiener", "local-score"), "pass")
    assert set(found["verdict"]) == {"pass"}
