"""The shape of eigenvectors in numbers, and the bases that they are held against."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.numerics import shapes


def test_shapes_of_known_vectors():
    shape = (1, 8, 8)
    pixel, even = np.eye(64)[:, :1], np.full((64, 1), 1 / 8)
    assert shapes.participation(pixel, shape) == pytest.approx(1 / 64)
    assert shapes.participation(even, shape) == pytest.approx(1)
    place = (np.arange(8) + 0.5) * np.pi / 8
    wave = np.outer(np.cos(3 * place), np.cos(4 * place)).reshape(64, 1)
    assert shapes.frequency(wave, shape) == pytest.approx(2.5)  # half cycles (3, 4): 5 / 2 cycles
    assert shapes.frequency(even, shape) == pytest.approx(0, abs=1e-9)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 5)))[0]
    assert shapes.overlap(basis @ turned, basis)[-1] == pytest.approx(1)
    assert shapes.share(pixel, even) == pytest.approx(1 / 64)
    colour = np.concatenate([pixel, np.zeros((128, 1))])
    assert shapes.participation(colour, (3, 8, 8)) == pytest.approx(1 / 64)


def test_bases_of_data_made_of_cosines():
    """Images that are sums of a few cosines of one colour: both bases are those cosines."""
    rng, place = np.random.default_rng(0), (np.arange(8) + 0.5) * np.pi / 8
    waves = np.stack([np.outer(np.cos(i * place), np.cos(j * place)) for i, j in ((0, 1), (1, 0), (2, 1))])
    fields = (rng.standard_normal((400, 3)) * [30, 20, 10]) @ waves.reshape(3, -1)
    colour = np.array([1.0, 0.5, -0.5])
    images = np.rint(128 + fields.reshape(-1, 8, 8, 1) * colour).clip(0, 255).astype(np.uint8)
    found = shapes.bases(images, images[:10], 3)
    truth = np.einsum("c,kp->kcp", colour, waves.reshape(3, -1)).reshape(3, -1).T
    truth = truth / np.linalg.norm(truth, axis=0)
    assert shapes.overlap(truth, found.dct).min() > 0.999
    assert shapes.overlap(truth, found.pca).min() > 0.98
    np.testing.assert_allclose(found.dct.T @ found.dct, np.eye(3), atol=1e-12)
    assert found.train.shape == (192, 9)
    few = shapes.bases(images[:100], images[:200], 3)
    assert few.train is None
    data = shapes.flat(images[:100])
    assert shapes.overlap(np.linalg.svd(data)[2][:3].T, few.pca).min() > 1 - 1e-9


def test_the_bases_of_the_data_see_every_class_of_a_sorted_pool(monkeypatch):
    monkeypatch.setattr(shapes, "POOL", 40)
    rng = np.random.default_rng(0)
    waves = np.cos(np.pi * np.outer([1, 3], np.arange(8) + 0.5) / 8)  # one for each class
    images = 128 + 25 * rng.standard_normal((80, 1, 1)) * np.repeat(waves, 40, axis=0)[:, None]
    images = np.broadcast_to(images, (80, 8, 8)).clip(0, 255).astype(np.uint8)[..., None]
    found = shapes.bases(shapes.draw(images), images[:5], 2)
    truth = np.linalg.svd(shapes.flat(images), full_matrices=False)[2][:2].T
    assert shapes.overlap(truth, found.pca)[-1] > 0.99
    assert shapes.overlap(truth, shapes.bases(images[:40], images[:5], 2).pca)[-1] < 0.9, (
        "the first images by name"
    )
