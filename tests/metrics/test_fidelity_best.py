"""Fidelity of the best checkpoint beside that of the end, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.jobs.run import Run
from bench.metrics.fidelity import best_checkpoint
from bench.metrics.psnr import PsnrOptions

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
title: One tiny run with checkpoints
training: {steps: 6, batch: 4, ema: 0.5, snapshots: [2, 4]}
measure:
  samples: {count: 12, sampler: ddim, steps: 3}
  fidelity: {features: random-conv, reference: 20, seeds: 2, best: {images: 4, steps: 3}}
  along: {psnr: {images: 4, steps: 3}}
runs:
  - {datasets: [disks-8], models: [nf-unet-t16], train_sizes: [10]}
"""
RUN = "disks-8.nf-unet-t16.n10.s0"


@pytest.fixture
def suite(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    file = tmp_path / "config" / "suites" / "tiny.yaml"
    file.write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return file


def test_best_and_last_beside_each_other(suite, monkeypatch):
    for words in (
        "data build disks-8 --workers 1",
        "data subset results/datasets/disks-8 --shuffle 0 --out results/subsets/disks-8/s0.npz",
        f"train {RUN} --suite tiny",
        f"measure all {RUN} --suite tiny --device cpu",
    ):
        assert main(words.split()) == 0
    folder = Path("results/tiny/runs") / RUN
    table = pd.read_csv(folder / "measurements.csv")
    rows = table[table["metric"].isin(["fidelity_frechet", "recall", "fidelity_spread"])]
    best = rows["protocol"].str.contains("training_step=")
    assert best.sum() == (~best).sum() == 5  # two seeds of two metrics, and the spread
    (step,) = table[table["metric"] == "best_step"]["value"]
    assert rows[best]["protocol"].str.contains(f"best_of=4;training_step={int(step)}").all()
    frechet = rows[rows["metric"] == "fidelity_frechet"]["value"]
    assert frechet.nunique() == (2 if step == 6 else 4)
    run, options = Run(folder), PsnrOptions(4, 3)
    found, at = best_checkpoint(run, options)
    assert found == step and (at is run) == (step == 6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("snapshots: [2, 4]", "snapshots: []", "fidelity.best needs checkpoints; set training.checkpoints"),
        ("sampler: ddim, steps: 3", "sampler: ddim, steps: 3, weights: raw", "fidelity.best needs samples.weights: ema"),
        ("best: {images: 4", "best: {images: 99999", "psnr.images is 99999"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(suite, capsys, old, new, message):
    raw = ", keep_raw: true" if "raw" in new else ""
    text = (
        SUITE.replace(old, new)
        .replace("ema: 0.5", f"ema: 0.5{raw}")
        .replace("  along: {psnr: {images: 4, steps: 3}}\n", "")
    )
    suite.write_text(text)
    assert main(["plan", "--suite", "tiny"]) == 1
    assert message in capsys.readouterr().err
