"""Copies are found, independent images are not."""

from __future__ import annotations

import tracemalloc
import types

import numpy as np
import torch

from bench.metrics import memorization
from bench.metrics.declare import Result
from bench.metrics.memorization import MemorizationOptions
from bench.metrics.numerics.neighbours import nearest

OPTIONS = MemorizationOptions(features="random-conv")


def pool(count, seed, side=8):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def measure(samples, train, test, options=OPTIONS, flip=False):
    rows = 100 + np.arange(len(train))
    run = types.SimpleNamespace(
        results=None, device="cpu", channels=1,
        spec=types.SimpleNamespace(
            name="run", train_size=len(train), training=types.SimpleNamespace(flip=flip)
        ),
        train_images=lambda: train, test_images=lambda: test, train_rows=lambda: rows,
    )  # fmt: skip
    drawn = Result(arrays={"samples": samples, "protocol": np.array("samples=x")})
    return memorization.measure(run, options, drawn)


def values(found, metric, split=""):
    return [r["value"] for r in found.rows if r["metric"] == metric and r["split"] == split]


def test_training_images_are_copies_and_independent_ones_are_not():
    train, test = pool(50, 0), pool(20, 1)
    chosen = np.array([3, 3, 7, 49, 0])
    found = measure(train[chosen], train, test)
    assert values(found, "memorized_share") == [1, 1]  # pixels, features
    assert values(found, "memorized_share", "test") == [0, 0]
    assert values(found, "nearest_distance") == [0, 0] and values(found, "nearest_ratio") == [0, 0]
    for space in ("pixels", "features"):
        assert found.arrays[f"samples_{space}_index"][:, 0].tolist() == (100 + chosen).tolist()
        assert found.arrays[f"samples_{space}_distance"].shape == (5, 2)
        assert np.array_equal(found.arrays[f"nearest_samples_{space}"], train[chosen])
    assert "space=pixels;images=5;samples=x;ratio=0.3333" in found.rows[0]["protocol"]
    found = measure(pool(5, 2), train, test)
    assert values(found, "memorized_share") == [0, 0]


def test_a_noisy_copy_is_a_copy_and_a_mirrored_one_only_where_training_mirrors():
    train, test = pool(50, 0), pool(20, 1)
    noisy = np.clip(
        train[:4].astype(int) + np.random.default_rng(3).integers(-9, 10, train[:4].shape), 0, 255
    )
    noisy = noisy.astype(np.uint8)
    alone = MemorizationOptions(features=None)
    assert values(measure(noisy, train, test, alone), "memorized_share") == [1]
    mirrored = noisy[:, :, ::-1]
    for flip, share in ((False, 0), (True, 1)):
        found = measure(mirrored, train, test, alone, flip)
        assert values(found, "memorized_share") == [share]
    assert found.arrays["samples_pixels_index"][:, 0].tolist() == [100, 101, 102, 103]


def test_nearest_is_that_of_all_distances():
    rng = np.random.default_rng(0)
    queries, others = rng.standard_normal((300, 20)), rng.standard_normal((1, 70, 20)) + 100
    found = nearest(queries + 100, [others[:, :33], others[:, 33:50], others[:, 50:]])
    every = torch.cdist(torch.from_numpy(queries + 100), torch.from_numpy(others[0])).numpy()
    assert np.array_equal(found.index, np.argsort(every, 1)[:, :2])
    np.testing.assert_allclose(found.distance, np.sort(every, 1)[:, :2] / 20**0.5, rtol=1e-9)


def test_two_equal_training_images_and_one_alone():
    train = np.repeat(pool(1, 0), 2, 0)
    found = measure(train, train, pool(3, 1))
    assert values(found, "memorized_share") == [1, 1]  # a copy, though the second is as near
    assert not memorization.MEASUREMENT.applies(types.SimpleNamespace(train_size=1)), (
        "there is no second nearest"
    )


def test_memory_does_not_grow_with_the_training_images():
    train, test = pool(12_000, 0, 16), pool(20, 1, 16)
    alone = MemorizationOptions(features=None)
    whole = 2 * len(train) * 16 * 16 * 8  # all of them and their mirror images, float64
    tracemalloc.start()
    found = measure(train[:20], train, test, alone, flip=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values(found, "nearest_distance") == [0]
    assert peak < 0.75 * whole
