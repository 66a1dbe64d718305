"""PSNR and attention along training, through the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.cli import main

ROOT = Path(__file__).resolve().parents[2]
RUN = "disks-8.dit-t16.n10.s0"
SUITE = """
title: One tiny run with checkpoints
training: {steps: 6, batch: 4, ema: 0.5, snapshots: [2, 4]}
measure:
  psnr: {images: 4, steps: 3}
  attention: {images: 2, step_indices: [1], steps: 3}
  along: {psnr: {images: 4, steps: 3}, attention: {images: 2, step_indices: [1], steps: 3}}
runs:
  - {datasets: [disks-8], models: [dit-t16, wiener], train_sizes: [10]}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the runs; the current folder while the tests run."""
    folder = tmp_path_factory.mktemp("along")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config" / "suites" / "tiny.yaml").write_text(SUITE)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CONFIG", str(folder / "config"))
        os.chdir(folder)
        for words in (
            "data build disks-8 --workers 1",
            "data subset results/datasets/disks-8 --shuffle 0 --out results/subsets/disks-8/s0.npz",
            f"train {RUN} --suite tiny",
            "train disks-8.wiener.n10.s0 --suite tiny",
        ):
            assert main(words.split()) == 0
        yield folder / "results" / "tiny" / "runs"
        os.chdir(before)


def measure(metric, run=RUN):
    assert main(f"measure {metric} {run} --suite tiny --device cpu".split()) == 0


def test_the_end_is_the_run_and_checkpoints_differ(runs):
    measure("all")
    table = psnr = maps = pd.read_csv(runs / RUN / "measurements.csv")
    curve = table[(table["metric"] == "along_psnr_mean") & (table["split"] == "test")]
    assert curve["index"].tolist() == [2, 4, 6] and curve["value"].nunique() == 3
    assert set(curve["index_name"]) == {"training_step"}
    end = psnr[(psnr["metric"] == "psnr_mean") & (psnr["split"] == "test")]
    assert (
        curve["value"].iloc[-1] == end["value"].item() and curve["protocol"].iloc[0] == end["protocol"].item()
    )
    distance = table[(table["metric"] == "along_attention_distance") & (table["index"] == 6)]
    final = maps[maps["metric"] == "attention_distance"]
    np.testing.assert_array_equal(distance["value"], final["value"])
    assert distance["protocol"].str.extract(r"layer=(\d)$")[0].tolist() == list("123456")
    with (
        np.load(runs / RUN / "arrays/along.npz") as arrays,
        np.load(runs / RUN / "arrays/attention.npz") as last,
    ):
        assert arrays["token_maps"].shape == (3, 6, 4, 4) and arrays["steps"].tolist() == [2, 4, 6]
        np.testing.assert_array_equal(
            arrays["token_maps"][-1].reshape(6, -1), last["maps"][:, int(last["token"])]
        )


def test_a_control_has_no_rows(runs):
    measure("all", "disks-8.wiener.n10.s0")
    table = pd.read_csv(runs / "disks-8.wiener.n10.s0" / "measurements.csv")
    assert len(table) and not table["metric"].str.startswith("along").any()


def test_the_figure_reads_the_checkpoints(runs):
    for words in ("check --suite tiny", "tidy --suite tiny", "figure figA5 --suite tiny"):
        assert main(words.split()) == 0
    assert Path("figures/tiny/figA5.png").stat().st_size > 5000
    assert "along training" in Path("figures/tiny/figA5.json").read_text()


def test_what_cannot_be_measured_is_refused(runs, capsys):
    file = runs / RUN / "snapshots" / "step00000004.safetensors"
    kept = file.read_bytes()
    file.unlink()
    assert main(f"measure along {RUN} --suite tiny --device cpu".split()) == 1
    assert "step00000004.safetensors is missing; delete" in capsys.readouterr().err
    file.write_bytes(kept)
    path = Path("config/suites/tiny.yaml")
    text = path.read_text()
    for old, new, words in (
        (", snapshots: [2, 4]", "", "along needs checkpoints; set training.checkpoints to their number"),
        ("along: {psnr: {images: 4, steps: 3}, attention:", "along: {}  # ", "name psnr, attention or both"),
    ):
        path.write_text(text.replace(old, new))
        assert main(["plan", "--suite", "tiny"]) == 1
        assert words in capsys.readouterr().err
    path.write_text(text)
