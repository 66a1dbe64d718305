"""How local attention maps are, against maps that are known."""

from __future__ import annotations

import types
import weakref

import numpy as np
import pytest
import torch

from bench.diffusion.schedule import make_schedule
from bench.metrics import attention
from bench.metrics.attention import AttentionOptions
from bench.metrics.numerics.attention_maps import Layer, locality
from bench.models.attention import AttentionCore, window_mask
from bench.support.errors import BenchError

GRID = make_schedule("linear", 1000).respace(50)


def fake_run(model, train, test, **more):
    """A run that holds these uint8 images, without files."""
    spec = types.SimpleNamespace(dataset="toy", name="toy")
    dataset = types.SimpleNamespace(test=test)
    return types.SimpleNamespace(
        spec=spec, dataset=dataset, model=model, device="cpu", schedule=make_schedule("linear", 1000),
        train_images=lambda n=None: train[:n], test_images=lambda n=None: test[:n], **more,
    )  # fmt: skip


def pool(count, seed, side=8):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def rows(found, metric, split=None):
    return [r["value"] for r in found.rows if r["metric"] == metric and split in (None, r["split"])]


def test_locality_numbers():
    grid = (4, 4)
    uniform = torch.full((1, 1, 16, 16), 1 / 16)
    found = locality(uniform, grid)
    assert abs(found["attention_entropy"] - np.log(16)) < 1e-6
    assert (
        abs(found["attention_mass_w3"] - float(window_mask(grid, 3, 0, torch.device("cpu")).float().mean()))
        < 1e-6
    )
    assert found["attention_mass_w7"] == pytest.approx(1)
    alone = locality(torch.eye(16)[None, None], grid)
    assert (
        alone["attention_distance"] == 0
        and alone["attention_mass_w3"] == 1
        and alone["attention_entropy"] == 0
    )


class Attends(torch.nn.Module):
    """Two heads over a 4 x 4 grid with one extra token: the first sees all alike, the second mostly itself."""

    def __init__(self):
        super().__init__()
        self.core = AttentionCore((4, 4), extra=1, scale=1.0)

    def forward(self, x, t, y=None):
        place = torch.eye(17)[None, None].repeat(1, 2, 1, 1) * torch.tensor([0.0, 10.0]).view(1, 2, 1, 1)
        self.core(place, place, place)
        return x


def test_attention_by_head_and_averaged():
    test = pool(3, 0, 4)
    run = fake_run(Attends(), test, test)
    options = AttentionOptions(images=2, step_indices=[1, 3], steps=5, heads="each")
    found = attention.measure(run, options)
    assert found.arrays["maps"].shape == (1, 16, 16) and found.arrays["heads_1"].shape == (2, 16, 16)
    np.testing.assert_allclose(found.arrays["heads_1"][0], 1 / 16, rtol=1e-6)
    np.testing.assert_allclose(found.arrays["heads_1"][1], np.eye(16), atol=1e-6)
    np.testing.assert_allclose(found.arrays["maps"][0], found.arrays["heads_1"].mean(0), atol=1e-7)
    first, second = rows(found, "attention_head_entropy")
    assert first == pytest.approx(np.log(16)) and second == pytest.approx(0, abs=1e-6)
    assert rows(found, "attention_entropy") == [pytest.approx(first / 2, abs=1e-6)]
    assert {r["protocol"] for r in found.rows if r["metric"] == "attention_head_distance"} == {
        f"images=2;step_indices=1,3;average=images,steps;head={head}" for head in (0, 1)
    }
    plain = attention.measure(run, AttentionOptions(images=2, step_indices=[1, 3], steps=5))
    assert rows(plain, "attention_distance") == rows(found, "attention_distance")
    assert rows(plain, "attention_head_distance") == [] and "heads_1" not in plain.arrays
    np.testing.assert_array_equal(plain.arrays["maps"], found.arrays["maps"])
    with pytest.raises(
        BenchError, match="attention.token = 16 is beyond the 16 tokens of the network; lower"
    ):
        attention.measure(run, AttentionOptions(token=16, images=1))


def test_maps_of_single_images_are_not_kept():
    layer, seen = Layer((4, 4), extra=0, window=None), []
    for seed in range(5):
        weights = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        seen.append((weakref.ref(weights), weights.numpy().copy()))
        layer.add(weights, heads=True)
    del weights
    assert not any(ref() is not None for ref, _ in seen)
    mean = np.mean([w[0] / w[0].sum(-1, keepdims=True) for _, w in seen], axis=0)
    np.testing.assert_allclose(layer.averaged(), mean, rtol=1e-5)
