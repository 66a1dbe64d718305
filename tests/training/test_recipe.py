"""Options of the recipe: what they do to a step, what is refused, and that a resumed training keeps its bits."""

from __future__ import annotations

import pytest
import torch
from small_training import run, spec

from bench.diffusion.schedule import make_schedule
from bench.support.errors import BenchError
from bench.training.loop import Loop
from bench.training.optimiser import decay_at, rate_at
from bench.training.options import TrainingOptions, recipe

RECIPES = {
    "v": {"prediction": "v", "weighting": "min-snr"},
    "x0": {"prediction": "x0"},
    "decay": {"rate_schedule": "cosine", "warmup": 20, "clip": 1.0, "ema_ramp": True},
    "sgd": {"optimiser": "sgd", "momentum": 0.9, "rate_schedule": "linear", "accumulate": 2},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_on_in_the_same_bits(place, name, monkeypatch):
    one = spec(place, **RECIPES[name])
    undisturbed = run(place, one, "calm", "calm-state")
    plain, _ = run(place, spec(place), "plain", "plain-state")
    assert undisturbed[0] != plain
    advance = Loop.advance

    def broken(loop):
        if loop.step == 70:
            raise BenchError("the power failed")
        advance(loop)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", broken)
        with pytest.raises(BenchError, match="power"):
            run(place, one, checkpoint_seconds=0)
    assert run(place, one) == undisturbed


def test_the_rate_rises_and_falls_to_zero():
    options = TrainingOptions(steps=100, learning_rate=2.0, warmup=10, rate_schedule="cosine")
    rates = [rate_at(options, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0) and rates == sorted(rates[:10]) + sorted(rates[10:])[::-1]
    assert 0 < rates[99] < 0.001
    linear = TrainingOptions(steps=100, learning_rate=2.0, rate_schedule="linear")
    assert [rate_at(linear, step) for step in (0, 50)] == [2.0, 1.0]
    assert rate_at(TrainingOptions(steps=100, learning_rate=2.0), 99) == 2.0


def test_the_average_follows_early_weights_sooner_with_a_ramp():
    options = TrainingOptions(ema=0.99, ema_ramp=True)
    assert [decay_at(options, step) for step in (0, 8, 10_000)] == [0.1, 0.5, 0.99]
    assert decay_at(TrainingOptions(ema=0.99), 0) == 0.99


def loop(**options) -> Loop:
    torch.manual_seed(0)
    network = Pointwise()
    images = torch.arange(64 * 16, dtype=torch.int64).remainder(256).to(torch.uint8).view(64, 4, 4, 1)
    recipe = {"steps": 5, "batch": 8, "learning_rate": 0.1, "ema": 0.5} | options
    return Loop(network, make_schedule("linear", 1000), images, TrainingOptions(**recipe), 0)


class Pointwise(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x, t, y=None):
        return self.weight[0] * x + self.weight[1]


def test_a_batch_in_parts_gives_the_same_step_up_to_rounding():
    whole, parts = loop(), loop(accumulate=4)
    for _ in range(5):
        whole.advance()
        parts.advance()
    torch.testing.assert_close(parts.parameters, whole.parameters, rtol=1e-5, atol=1e-6)
    assert parts.history[-1][1] == pytest.approx(whole.history[-1][1], rel=1e-6)


def test_sgd_with_momentum_and_clipping_moves_as_the_formula_says():
    made = loop(optimiser="sgd", momentum=0.5, clip=0.01)
    before, moves = made.parameters[0].detach().clone(), []
    for _ in range(2):
        made.advance()
        moves.append(made.parameters[0].detach() - before)
        before = made.parameters[0].detach().clone()
    assert float(moves[0].norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)
    gradient = made.parameters[0].grad
    torch.testing.assert_close(moves[1], 0.5 * moves[0] - 0.1 * gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"warmup": 100}, r"warmup must be at least 0 and less than steps \(100\), not 100"),
        ({"clip": 0.0}, "clip must be positive or null"),
        ({"accumulate": 3}, r"batch must be a multiple of accumulate \(3\), not 64"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive and finite"),
        ({"timesteps": 20}, "the linear schedule needs more than 20 timesteps, not 20"),
    ],
)
def test_an_impossible_recipe_is_one_sentence(options, text):
    with pytest.raises(ValueError, match=text):
        TrainingOptions(steps=100, **options)


def test_recipes_that_train_alike_are_one(place):
    def same(a, b):
        return recipe(spec(place, **a)) == recipe(spec(place, **b))

    assert same({"prediction": "v", "weighting": "v"}, {"prediction": "v"})
    assert same({"weighting": "eps"}, {}) and same({"momentum": 0.5}, {})
    assert same({"optimiser": "sgd", "betas": [0.5, 0.5]}, {"optimiser": "sgd"})
    assert not same({"weighting": "v"}, {"prediction": "v"}) and not same({"ema_ramp": True}, {})
    assert not {"prediction", "clip", "momentum"} & set(recipe(spec(place))["training"])


def test_checkpoints_are_log_spaced_and_end_at_the_last_step():
    assert TrainingOptions(steps=450, checkpoints=5).kept == [28, 56, 112, 225, 450]
    assert TrainingOptions(steps=450, checkpoints=2, snapshots=[10, 450]).kept == [10, 225, 450]
    many = TrainingOptions(steps=2_000_000, checkpoints=40).kept
    assert len(many) == 40 and many[0] == 2000 and many[-1] == 2_000_000
    ratios = [b / a for a, b in zip(many, many[1:])]
    assert max(ratios) / min(ratios) < 1.01
    assert TrainingOptions(steps=3, checkpoints=5).kept == [1, 2, 3]
    assert TrainingOptions(steps=3).kept == []


def test_vectors_and_float_values_pass_as_they_are():
    class Seen(Pointwise):
        def forward(self, x, t, y=None):
            seen.append(x)
            return super().forward(x, t)

    seen: list = []
    values = torch.tensor([[1.0, -3.0, 7.0]])  # one vector: an image of 1x1 with three channels
    options = TrainingOptions(steps=2, batch=4, prediction="x0")
    made = Loop(Seen(), make_schedule("linear", 1000), values, options, 0)
    x0, _, noise = made.batch()
    assert torch.equal(x0, values.view(1, 3, 1, 1).repeat(4, 1, 1, 1)) and noise.shape == x0.shape
    assert [*made.run()] == [1, 2] and seen[0].shape == (4, 3, 1, 1)
    with_images = Loop(Seen(), make_schedule("linear", 1000), values.view(1, 1, 1, 3), options, 0)
    assert torch.equal(with_images.batch()[0], x0)


def test_a_small_sgd_network_learns_a_mixture():
    """The setting of Bonnaire et al.: vectors, SGD with momentum; the loss approaches that of the optimum."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (512, 1), generator=generator) * 2.0 - 1
    values = signs + 0.3 * torch.randn(512, 4, generator=generator)

    class Mlp(torch.nn.Sequential):
        def forward(self, x, t, y=None):
            return super().forward(torch.cat([x.flatten(1), t[:, None] / 50], 1)).view_as(x)

    torch.manual_seed(0)
    network = Mlp(torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    recipe = {"optimiser": "sgd", "momentum": 0.95, "learning_rate": 1e-2, "flip": False}
    options = TrainingOptions(steps=600, batch=64, timesteps=50, **recipe)
    made = Loop(network, make_schedule("linear", 50), values, options, 0)
    for _ in made.run():
        pass
    losses = [loss for _, loss, _ in made.history]
    assert losses[-1] < 0.6 * losses[0]
