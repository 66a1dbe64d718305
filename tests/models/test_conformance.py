"""The conformance suite over this project's presets, and what it says of networks that are wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.models import conformance
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models

PRESETS = load_models()
# the capacity controls are the same network in other sizes; the controls without training have a test of their own
SMALL = [
    name
    for name, preset in PRESETS.items()
    if preset.image_size == 16 and not (preset.variant or "").startswith("capacity control")
]


@pytest.mark.parametrize("name", SMALL)
def test_small_presets(name):
    preset = PRESETS[name]
    spec = ModelSpec(name, preset.family, preset.options, preset.file)
    results = conformance.run(lambda: build(spec, preset.image_size, preset.channels), 16, preset.channels)
    assert not [r for r in results if r.status == "fail"]
    if preset.family == "dit":
        assert all(r.status == "pass" for r in results)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_has_a_valid_baseline(name):
    preset = PRESETS[name]
    with torch.device("meta"):
        model = build(
            ModelSpec(name, preset.family, preset.options, preset.file), preset.image_size, preset.channels
        )
    assert isinstance(model, nn.Module)
    if preset.baseline:
        assert preset.baseline != name
        assert PRESETS[preset.baseline].image_size == preset.image_size


class Net(nn.Module):
    """A right network to start from; each subclass spoils one thing."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, t, y=None):
        return self.layer(x)


class WrongShape(Net):
    def forward(self, x, t, y=None):
        return self.layer(x)[..., 1:]


class MixesBatch(Net):
    def forward(self, x, t, y=None):
        return self.layer(x - x.mean(0))


class DeadParameter(Net):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))


class Noisy(Net):
    def forward(self, x, t, y=None):
        return self.layer(x) + 1e-3 * torch.randn_like(x)


class ChangesItself(Net):
    """Folds a correction into the weights each time it is evaluated."""

    def forward(self, x, t, y=None):
        with torch.no_grad():
            self.layer.weight.mul_(1.01)
        return self.layer(x)


class ForgetsState(Net):
    def __init__(self):
        super().__init__()
        self.gain = torch.rand(())

    def forward(self, x, t, y=None):
        return self.gain * self.layer(x)


class WrongDerivative(Net):
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

        @staticmethod
        def jvp(ctx, tangent):
            return tangent.clone()

    def forward(self, x, t, y=None):
        return self.Rounded.apply(self.layer(x))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (WrongShape, "shapes"),
        (MixesBatch, "batch_independence"),
        (DeadParameter, "gradients"),
        (Noisy, "determinism"),
        (ChangesItself, "evaluation_mode"),
        (ForgetsState, "state_dict"),
        (WrongDerivative, "derivatives"),
    ],
)
def test_a_wrong_network_fails_the_right_check(kind, check):
    status = {r.check: r.status for r in conformance.run(kind, 8, 1)}
    assert status[check] == "fail", status


def test_a_right_network_passes_and_skips_with_a_reason():
    results = conformance.run(Net, 8, 1)
    assert {r.status for r in results} == {"pass", "skip"}
    assert [(r.check, r.reason) for r in results if r.status == "skip"] == [
        ("attention_maps", "no self-attention")
    ]


def test_missing_derivative_is_a_skip_and_a_wrong_one_is_not():
    class NoForwardMode(Net):
        def forward(self, x, t, y=None):
            raise_in_jvp = torch.autograd.forward_ad._current_level >= 0
            if raise_in_jvp:
                raise NotImplementedError("no forward mode here")
            return self.layer(x)

    (result,) = [r for r in conformance.run(NoForwardMode, 8, 1) if r.check == "derivatives"]
    assert result == ("derivatives", "skip", "no derivative: no forward mode here")
