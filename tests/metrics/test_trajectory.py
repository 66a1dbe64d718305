"""The gap on the sampling trajectory: none for a denoiser that saw no images, large for the memoriser."""

from __future__ import annotations

import types

import numpy as np
import pytest
from denoisers import SCHEDULE, Denoiser, memoriser, pool

from bench.metrics import trajectory
from bench.metrics.trajectory import TrajectoryOptions

OPTIONS = TrajectoryOptions(noises=32, steps=10, images=20)


def run_of(model, train, test):
    return types.SimpleNamespace(
        model=model, schedule=SCHEDULE, device="cpu", image_size=4, channels=1,
        spec=types.SimpleNamespace(train_size=len(train)),
        train_images=lambda n: train[:n], test_images=lambda n: test[:n],
    )  # fmt: skip


def measured(model, train, test):
    found = trajectory.measure(run_of(model, train, test), OPTIONS)
    (mean,) = [row["value"] for row in found.rows if row["metric"] == "trajectory_gap_mean"]
    gaps = {row["index"]: row["value"] for row in found.rows if row["metric"] == "trajectory_gap"}
    return found, gaps, mean


def test_the_memoriser_ends_at_its_training_images():
    train, test = pool(12, 0), pool(40, 1)
    found, gaps, mean = measured(memoriser(train), train, test)
    assert (
        len(gaps) == 10 and gaps[0] > 30 and gaps[9] < 2 and mean == pytest.approx(np.mean([*gaps.values()]))
    )
    assert found.arrays["train"].shape == (10, 32) and "images=12" in found.rows[0]["protocol"]


def test_a_denoiser_that_saw_neither_pool_has_no_gap():
    train, test = pool(200, 0), pool(200, 1)
    _, gaps, mean = measured(Denoiser(lambda y, sigma: y / (1 + sigma**2)), train, test)
    assert abs(mean) < 0.15 and max(map(abs, gaps.values())) < 0.6


def test_as_many_test_images_as_training_images_are_looked_at():
    train, test = pool(3, 0), pool(40, 1)
    asked = {}
    run = run_of(memoriser(train), train, test)
    run.test_images = lambda n: asked.setdefault("n", n) and test[:n]
    trajectory.measure(run, OPTIONS)
    assert asked["n"] == 3
