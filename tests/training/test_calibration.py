"""Running statistics are those of the averaged weights."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from small_training import run, spec

from bench.data.dataset import open_dataset
from bench.data.pixels import to_network
from bench.diffusion.schedule import make_schedule
from bench.models.registry import build
from bench.models.spec import ModelSpec

NORMS = """
import torch
from bench.models.bias_free import BiasFreeNorm
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, norm):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 8, 3, padding=1), norm(8), torch.nn.Conv2d(8, channels, 3, padding=1))
        if norm is BiasFreeNorm:
            torch.nn.init.ones_(self.layers[1].gain)

    def forward(self, x, t, y=None):
        return self.layers(x)

@register_model("net")
def net(image_size, channels, bias_free: bool = False):
    return Net(channels, BiasFreeNorm if bias_free else torch.nn.BatchNorm2d)
"""


def denoising_error(place, weights, options) -> float:
    """Mean squared error of eps on the training images, in evaluation mode."""
    model = build(ModelSpec("net", "net", options, str(place / "net.py")), 8, 1)
    model.load_state_dict(weights)
    images = to_network(open_dataset(place / "data").train[:20]).repeat(50, 1, 1, 1)
    draws, schedule = torch.Generator().manual_seed(1), make_schedule("linear", 1000)
    t = torch.randint(1000, (len(images),), generator=draws)
    noise = torch.randn(images.shape, generator=draws)
    with torch.no_grad():
        return float((model.eval()(schedule.q_sample(images, t, noise), t) - noise).square().mean())


@pytest.mark.parametrize("bias_free", [False, True])
def test_running_statistics_are_those_of_the_averaged_weights(place, bias_free):
    (place / "net.py").write_text(NORMS)
    model = ModelSpec("net", "net", {"bias_free": bias_free}, str(place / "net.py"))
    one = dataclasses.replace(
        spec(place, steps=60, learning_rate=2e-2, snapshots=[30], keep_raw=True), model=model
    )
    one = dataclasses.replace(one, training=dataclasses.replace(one.training, ema=0.98))
    run(place, one)
    weights = load_file(place / "out/weights.safetensors")
    last = load_file(place / "out/raw.safetensors")
    statistics = [name for name in weights if "running" in name or "tracked" in name]
    assert statistics
    stale = {**weights, **{name: last[name] for name in statistics}}
    error = denoising_error(place, weights, model.options)
    assert error < 0.95 * denoising_error(place, stale, model.options)
    kept = load_file(place / "out/snapshots/step00000030.safetensors")
    assert any(not torch.equal(kept[name], weights[name]) for name in statistics)
    without = dataclasses.replace(one, training=dataclasses.replace(one.training, snapshots=[]))
    run(place, without, "without")
    other = load_file(place / "without/weights.safetensors")
    assert all(torch.equal(other[name], weights[name]) for name in weights), "a snapshot changed the training"
