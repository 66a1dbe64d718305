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
    if preset.image_size in (1, 16)
    and preset.role != "capacity"
    and not (preset.role or "").startswith("local-")
]


@pytest.mark.parametrize("name", SMALL)
def test_small_presets(name):
    preset = PRESETS[name]
    spec = ModelSpec(name, preset.family, preset.options, preset.file)
    side, channels = preset.image_size, preset.channels
    results = conformance.run(lambda: build(spec, side, channels), side, channels)
    assert {r.status for r in results} <= {"pass", "skip"}, results
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


class Timed(Net):
    """Right in every respect."""

    def forward(self, x, t, y=None):
        return self.layer(x) * (1 + t[:, None, None, None] / 1000)


class Double(Net):
    def __init__(self):
        super().__init__()
        self.double()

    def forward(self, x, t, y=None):
        return self.layer(x.double()).to(x)


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
        (Noisy, "evaluation_mode"),
        (Double, "precision"),
        (ChangesItself, "evaluation_mode"),
        (ForgetsState, "state_dict"),
        (WrongDerivative, "derivatives"),
    ],
)
def test_a_wrong_network_fails_the_right_check_first(kind, check):
    """What fails after it may follow from it: the first failure is the one to read."""
    failed = [r.check for r in conformance.run(kind, 8, 1) if r.status == "fail"]
    assert failed[:1] == [check], failed


def test_dropout_left_on_is_named_before_what_follows_from_it():
    class Forgetful(Net):
        def forward(self, x, t, y=None):
            return nn.functional.dropout(self.layer(x), 0.5)

    failed = [r for r in conformance.run(Forgetful, 8, 1) if r.status == "fail"]
    assert len(failed) > 1 and failed[0].check == "evaluation_mode"
    assert "something stays random, for instance dropout that ignores eval()" in failed[0].reason


def warnings(kind) -> dict[str, str]:
    return {r.check: r.reason for r in conformance.run(kind, 8, 1) if r.status == "warn"}


def test_a_right_network_passes_and_skips_with_a_reason():
    results = conformance.run(Timed, 8, 1)
    assert {r.status for r in results} == {"pass", "skip"}
    assert [(r.check, r.reason) for r in results if r.status == "skip"] == [
        ("attention_maps", "no self-attention")
    ]


def test_what_may_be_meant_is_a_warning():
    assert "does not depend on t" in warnings(Net)["time"]

    class Large(Timed):
        def forward(self, x, t, y=None):
            return 50 * x + super().forward(x, t)

    class LargeLater(Timed):
        """Zero at the start, and far too sensitive to its weights."""

        def __init__(self):
            super().__init__()
            nn.init.zeros_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)

        def forward(self, x, t, y=None):
            return 1e6 * super().forward(x, t)

    assert "times as large as the noise at initialisation" in warnings(Large)["scale"]
    assert "after 8 steps" in warnings(LargeLater)["scale"]


def test_a_network_is_tried_with_every_target_that_it_can_learn():
    """Bias-free networks and those with learned variances learn eps alone."""
    assert [*trained(Timed)] == ["eps", "v", "x0"]
    assert [*trained(lambda: build(ModelSpec("x", "bf-cnn", {"width": 4, "depth": 2}), 8, 1))] == ["eps"]
    small = {"depth": 1, "width": 8, "heads": 1, "learned_sigma": True}
    assert [*trained(lambda: build(ModelSpec("x", "dit", small), 8, 1))] == ["eps"]


def trained(make):
    return conformance.Case(make, make(), 8, 1).trained


def test_missing_derivative_is_a_skip_and_a_wrong_one_is_not():
    class NoForwardMode(Net):
        def forward(self, x, t, y=None):
            raise_in_jvp = torch.autograd.forward_ad._current_level >= 0
            if raise_in_jvp:
                raise NotImplementedError("no forward mode here")
            return self.layer(x)

    (result,) = [r for r in conformance.run(NoForwardMode, 8, 1) if r.check == "derivatives"]
    assert result == ("derivatives", "skip", "no derivative: no forward mode here")
