"""Learning rates tried on validation images: what is trained, what is read, what is said, what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.jobs import pieces, tune
from bench.suite import config, plan
from bench.support import paths
from bench.support.arrays import save_arrays

SUITE = """
title: A recipe to tune
training: {steps: 30, batch: 4, ema: 0.5, flip: false, warmup: 9, learning_rate: 2e-3, checkpoints: 2, prediction: v}
measure: {psnr: {images: 4, steps: 3}, samples: {count: 4, sampler: ddim, steps: 2}}
runs:
  - {datasets: [disks-8], models: [unet-t16, wiener], train_sizes: [10, 20]}
  - {datasets: [disks-8], models: [bf-cnn-t16], train_sizes: [20], training: {prediction: eps, learning_rate: 1e-2}}
"""
DATASETS = """
bare: {title: No validation images, family: disks, resolution: 8, channels: 1, train: 40, test: 10}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(config.folder(), tmp_path / "config")
    (tmp_path / "config" / "suites" / "tiny.yaml").write_text(SUITE)
    (tmp_path / "config" / "suites" / "bare.yaml").write_text(SUITE.replace("disks-8", "bare"))
    with (tmp_path / "config" / "datasets.yaml").open("a") as file:
        file.write(DATASETS)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(model: str, rates: tuple = (), shuffles: int = 1, **more) -> plan.Plan:
    where = {"dataset": None, "size": None, "steps": None} | more
    return tune.plan(plan.load("tiny"), model, rates=rates, shuffles=shuffles, **where)


def test_the_runs_are_short_ones_of_the_suite_at_several_rates(folder):
    found = planned("unet-t16")
    assert [run.training.learning_rate for run in found.runs.values()] == [1e-3, 2e-3, 4e-3]
    for run in found.runs.values():
        assert (run.training.steps, run.training.warmup, run.training.kept) == (10, 3, [])
        assert (run.training.prediction, run.train_size, run.dataset) == ("v", 20, "disks-8")
        assert found.metrics(run.name) == ["cost", "psnr"]
    own = planned("bf-cnn-t16", (1e-3, 1e-2), 2, steps=7)
    assert {run.training.prediction for run in own.runs.values()} == {"eps"}, (
        "the suite's own recipe of this preset"
    )
    assert [(r.training.steps, r.shuffle) for r in own.runs.values()] == [(7, 0), (7, 1)] * 2
    other = planned("dit-t16", size=10)
    assert {run.train_size for run in other.runs.values()} == {10}, "a model that the suite does not train"


def test_a_table_that_the_same_command_completes(folder, capsys):
    words = ["tune", "unet-t16", "--suite", "tiny", "--rate", "1e-3", "--rate", "1e-2", "--device", "cpu"]
    assert main([*words, "--minutes", "0.00001"]) == 75
    assert main(words) == 0
    said = capsys.readouterr()
    assert "validation" in said.out and "Take 0.001: " in said.err and "linear filter" in said.err
    table = pd.read_csv("results/tune/disks-8.unet-t16.n20.csv")
    assert list(table["learning_rate"]) == [1e-3, 1e-2] and not [c for c in table if "test" in c]
    weights = sorted(folder.glob("results/tune/runs/*/weights.safetensors"))
    made = [file.stat().st_mtime_ns for file in weights]
    assert len(made) == 2 and main(words) == 0
    assert [file.stat().st_mtime_ns for file in weights] == made, "nothing is trained twice"


def stored(monkeypatch, wanted: plan.Plan, validation: dict[float, list[float]]) -> pd.DataFrame:
    """Return the table of finished runs with these PSNRs of single images; a rate without any has failed."""
    for name, run in wanted.runs.items():
        if (rate := run.training.learning_rate) in validation:
            values = np.add.outer(np.array(validation[rate]) + 0.01 * run.shuffle, [0.0, 0.0])
            arrays = {"train": values + 1, "validation": values, "test": 0 * values}
            save_arrays(paths.arrays_folder("tune", name) / "psnr.npz", **arrays)
    failed = lambda suite, run: suite.run(run).training.learning_rate not in validation  # noqa: E731
    monkeypatch.setattr(tune, "lacking", failed)
    monkeypatch.setattr(tune, "_linear", lambda run: 17.0)
    return tune.compare(wanted)


def test_the_best_rate_and_the_size_of_the_differences(folder, monkeypatch):
    images = [10.0, 20.0, 30.0, 40.0]
    near = [11.0, 19.0, 31.0, 38.8]  # 0.05 lower in the mean, one image with another sign
    table = stored(
        monkeypatch,
        planned("unet-t16", (1e-3, 2e-3, 4e-3)),
        {1e-3: [9, 19.1, 29, 39.1], 2e-3: images, 4e-3: near},
    )
    assert list(table["difference"]) == pytest.approx([-0.95, 0, -0.05])
    assert list(table["train"] - table["validation"]) == pytest.approx([1, 1, 1]) and set(table["over"]) == {
        "images"
    }
    differences = np.array(near) - images
    half = 3.182 * differences.std(ddof=1) / 2
    assert table["high"][2] - table["difference"][2] == pytest.approx(half, rel=1e-3)
    said = tune.advice(table)
    assert said.startswith("Take 0.002: 25.00 dB") and "Not shown to be worse: 0.004." in said
    assert "that was tried" not in said
    two = stored(monkeypatch, planned("unet-t16", (1e-3, 2e-3), shuffles=2), {1e-3: near, 2e-3: images})
    assert set(two["over"]) == {"shuffles"} and "the largest that was tried; try larger" in tune.advice(two)


def test_a_rate_that_diverged_has_no_numbers(folder, monkeypatch):
    wanted = planned("unet-t16", (1e-3, 2e-3, 4e-3))
    table = stored(monkeypatch, wanted, {1e-3: [1.0, 2.0], 2e-3: [2.0, 2.5]})
    assert list(table["over"]) == ["images", "images", "failed"]
    assert tune.readable(table).splitlines()[3].split() == ["0.004", "10", "failed", "17.00"]
    assert "larger" not in tune.advice(table)
    with pytest.raises(Exception, match="No rate has a finished run"):
        stored(monkeypatch, wanted, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["unet-t61", "-s", "tiny"], "did you mean 'unet-t16'"),
        (["wiener", "-s", "tiny"], "wiener is a closed form and has no learning rate"),
        (["unet-t16", "-s", "tiny", "--rate", "0", "--rate", "1"], "learning_rate must be positive"),
        (["unet-t16", "-s", "tiny", "--rate", "1e-3"], "leaves nothing to compare; give --rate twice"),
        (["unet-t16", "-s", "tiny", "--steps", "0"], "steps must be at least 1"),
        (["unet-t16", "-s", "tiny", "--shuffles", "3", "--train-size", "9"], "on any dataset at N = 9"),
        (["unet-t16", "-s", "tiny", "--train-size", "7"], "trains no network on any dataset at N = 7"),
        (["unet-t16", "-s", "tiny", "--dataset", "disks-16"], "trains no network on disks-16"),
        (["unet-t16", "-s", "bare"], "bare has no validation images to tune on; set `validation: N`"),
    ],
)
def test_bad_input_is_one_sentence(folder, words, message, capsys, monkeypatch):
    monkeypatch.setattr(pieces, "run_pieces", None)
    assert main(["tune", *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("bench: error: ") and message in said and said.count("\n") == 1
    assert not (folder / "results" / "tune").exists(), "nothing is half-written"
