"""The two clocks: read off curves, off denoisers whose copies and divergence are known, and through the command line."""

from __future__ import annotations

import os
import shutil
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from denoisers import SCHEDULE, Denoiser

from bench.cli import main
from bench.data.optima import mixture_denoise
from bench.metrics.clocks import ClocksOptions
from bench.metrics.numerics.checkpoints import Stages
from bench.metrics.numerics.clock_times import crossing, lowest

ROOT = Path(__file__).resolve().parents[2]
STEPS = np.array([10, 100, 1000, 10000])
SUITE = """
title: Two tiny runs with checkpoints
training: {steps: 8, batch: 4, ema: 0.0, flip: false, checkpoints: 4}
measure: {clocks: {count: 16, steps: 2, images: 16}}
runs:
  - {datasets: [mixture-8], models: [mlp-8], train_sizes: [16]}
  - {datasets: [disks-8], models: [unet-t8, wiener], train_sizes: [16]}
"""


def hits(*shares, count=100):
    return np.array([np.arange(count) < share * count for share in shares])


def test_copies_begin_between_checkpoints():
    clock = crossing(STEPS, hits(0, 0, 0.2, 0.9), 0.1)
    assert clock.step == pytest.approx(10**2.5)
    assert (clock.low, clock.high) == (100, 1000)


def test_a_share_that_is_not_shown_to_pass_the_level_is_a_bound():
    assert crossing(STEPS, hits(0, 0, 0, 0.01), 0.1) == (None, 10000, None)
    assert crossing(STEPS, hits(0, 0, 0.08, 0.12), 0.1) == (None, 100, None)
    assert crossing(STEPS, hits(0.9, 1, 1, 1), 0.1) == (10, 0, 10)


def test_the_lowest_point_has_an_interval_and_none_at_the_end():
    curve = np.array([4.0, 1.0, 2.0, 3.0])
    assert lowest(STEPS, curve, np.tile(curve, (50, 1))) == (100, 10, 1000)
    falling = np.array([4.0, 3.0, 2.0, 1.0])
    assert lowest(STEPS, falling, np.tile(falling, (50, 1))) == (None, 1000, None)


def vector_run(denoise, train, test):
    return types.SimpleNamespace(
        spec=types.SimpleNamespace(training=types.SimpleNamespace(flip=False)), device="cpu", schedule=SCHEDULE,
        dataset=types.SimpleNamespace(manifest={"made": {"family": "mixture", "parameters": {}}}),
        model=Denoiser(denoise), channels=8, image_size=1,
        train_images=lambda n=None: train[:n], test_images=lambda n=None: test[:n],
    )  # fmt: skip


def vectors(count, seed):
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (count, 1))
    return (signs + rng.standard_normal((count, 8))).reshape(count, 1, 1, 8).astype(np.float32)


def exact(y, sigma):
    return torch.from_numpy(mixture_denoise(y.numpy(), sigma)[0])


def test_the_exact_score_has_no_divergence_and_a_constant_error_the_known_one():
    train, test, options = vectors(64, 0), vectors(64, 1), ClocksOptions(count=64, images=64, steps=20)
    run = vector_run(exact, train, test)
    stages = Stages(run, options)
    at = stages.at(run)
    assert at.units.max() < 1e-8 and at.copies.mean() < 0.05
    abar = SCHEDULE.respace(50).alphas_cumprod
    span = np.log(abar / (1 - abar))
    off = vector_run(
        lambda y, sigma: exact(y, sigma) - 0.1 * sigma, train, test
    )  # eps is off by 0.1 in each dimension
    expected = 8 * 0.1**2 * (span[0] - span[-1]) / 2
    np.testing.assert_allclose(Stages(off, options).at(off).units, expected, rtol=1e-5)


def test_the_memoriser_copies_every_sample():
    train, test = vectors(16, 0), vectors(64, 1)
    data = torch.from_numpy(train.reshape(16, 8)).double()
    run = vector_run(
        lambda y, s: (-torch.cdist(y, data).square() / (2 * s**2)).softmax(1) @ data, train, test
    )
    stages = Stages(run, ClocksOptions(count=64, images=64, steps=20))
    assert stages.at(run).copies.all() and stages.chance.mean() < 0.05
    assert stages.at(run).losses["train"] < stages.at(run).losses["test"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current folder while the tests run, with data."""
    path, before = tmp_path_factory.mktemp("clocks"), Path.cwd()
    shutil.copytree(ROOT / "config", path / "config")
    (path / "config" / "suites" / "tiny.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CONFIG", str(path / "config"))
        os.chdir(path)
        for data in ("mixture-8", "disks-8"):
            assert main(f"data build {data} --workers 1".split()) == 0
            out = f"results/subsets/{data}/s0.npz"
            assert main(f"data subset results/datasets/{data} --shuffle 0 --out {out}".split()) == 0
        yield path
        os.chdir(before)


@pytest.mark.parametrize("run", ["mixture-8.mlp-8.n16.s0", "disks-8.unet-t8.n16.s0"])
def test_runs_are_measured_at_every_checkpoint(folder, run):
    assert main(f"train {run} --suite tiny".split()) == 0
    assert main(f"measure all {run} --suite tiny --device cpu".split()) == 0
    table = pd.read_csv(folder / "results/tiny/runs" / run / "measurements.csv").set_index("metric")
    assert table.loc["clocks_copies", "index"].tolist() == [1, 2, 4, 8]
    assert table.loc["clocks_distance", "value"].nunique() == 4
    assert set(table.loc["clocks_loss", "split"]) == {"train", "test"}
    assert "memorization_step" not in table.index  # after 8 steps nothing is a copy
    assert table.loc["memorization_step_after", "value"] <= 8
    assert ("features" in table.loc["clocks_distance", "protocol"].iloc[0]) == run.startswith("disks")


def test_a_control_has_no_clocks(folder):
    run = "disks-8.wiener.n16.s0"
    assert main(f"train {run} --suite tiny".split()) == 0
    assert main(f"measure all {run} --suite tiny --device cpu".split()) == 0
    assert "clocks" not in (folder / "results/tiny/runs" / run / "measurements.csv").read_text()


@pytest.mark.parametrize(
    ("verb", "old", "new", "words"),
    [
        ("plan", "checkpoints: 4", "checkpoints: 3", "clocks needs at least 4 checkpoints; set training.checkpoints"),
        ("plan", "images: 16", "timestep: 1000", "clocks.timestep must lie in 0..timesteps - 1 (999), not 1000"),
        ("plan", "images: 16", "images: 9999", "clocks.images is 9999, mixture-8 has 2000 test images; lower it"),
        ("plan", "images: 16", "onset: 1.5", "onset must lie between 0 and 1, not 1.5"),
        ("check", "[mlp-8]", "[unet-t8]", "vectors (one pixel of 8 channels) are for mlp"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(folder, capsys, verb, old, new, words):
    path = folder / "config/suites/tiny.yaml"
    path.write_text(SUITE.replace(old, new, 1))
    assert main([verb, "--suite", "tiny"]) == 1
    assert words in capsys.readouterr().err
    path.write_text(SUITE)


def test_a_missing_checkpoint_is_refused(folder, capsys):
    run = "mixture-8.mlp-8.n16.s0"
    file = folder / "results/tiny/runs" / run / "snapshots/step00000004.safetensors"
    kept = file.read_bytes()
    file.unlink()
    assert main(f"measure clocks {run} --suite tiny --device cpu".split()) == 1
    assert "step00000004.safetensors is missing; delete" in capsys.readouterr().err
    file.write_bytes(kept)
