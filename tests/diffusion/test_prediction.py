"""Networks that predict v or x0 are read as eps without loss, and their errors are weighted as documented."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.diffusion.objective import Objective
from bench.diffusion.prediction import as_eps, check_target, target, weights
from bench.diffusion.schedule import make_schedule
from bench.models.bias_free import bf_unet
from bench.support.errors import BenchError
from bench.training.options import TrainingOptions

SCHEDULE = make_schedule("linear", 1000)
ENDS = [0, 500, int(SCHEDULE.respace(50).timesteps[49])]


class Oracle(nn.Module):
    """A network that knows what it should predict."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x, t, y=None):
        return self.answer


def case(t: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 1, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    return x0.to(dtype), torch.full((2,), t), noise.to(dtype)


@pytest.mark.parametrize("t", ENDS)
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_perfect_prediction_gives_noise_and_image_at_both_ends(prediction, t):
    x0, steps, noise = case(t)
    model = as_eps(Oracle(target(prediction, SCHEDULE, x0, steps, noise)), SCHEDULE, prediction)
    x_t = SCHEDULE.q_sample(x0, steps, noise)
    eps = model(x_t, steps)
    torch.testing.assert_close(eps, noise, rtol=0, atol=5e-5)
    torch.testing.assert_close(SCHEDULE.x0_from_eps(x_t, steps, eps), x0, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("prediction", "t"), [("v", 0), ("v", ENDS[-1]), ("x0", ENDS[-1])])
def test_a_bfloat16_output_is_converted_in_float32(prediction, t):
    """The image comes back as exactly as bfloat16 holds it, although it is 150 times smaller in eps."""
    x0, steps, noise = case(t)
    rounded = target(prediction, SCHEDULE, x0, steps, noise).bfloat16()
    x_t = SCHEDULE.q_sample(x0, steps, noise)
    eps = as_eps(Oracle(rounded), SCHEDULE, prediction)(x_t, steps)
    assert eps.dtype == torch.float32
    error = (SCHEDULE.x0_from_eps(x_t, steps, eps) - x0).abs().max()
    assert error < 2.0**-8 * 1.1


def test_float64_stays_float64():
    x0, steps, noise = case(0, torch.float64)
    model = as_eps(Oracle(target("v", SCHEDULE, x0, steps, noise)), SCHEDULE, "v")
    eps = model(SCHEDULE.q_sample(x0, steps, noise), steps)
    torch.testing.assert_close(eps, noise, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighting", ["own", "eps", "x0", "v", "min-snr"])
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_the_weighted_loss_is_the_other_predictions_squared_error(prediction, weighting):
    x0, _, noise = case(0, torch.float64)
    steps = torch.tensor([3, 700])
    snr = torch.from_numpy(SCHEDULE.alphas_cumprod / (1 - SCHEDULE.alphas_cumprod))[steps]
    guess = target(prediction, SCHEDULE, x0, steps, noise) + 0.1

    class Guess(Oracle):
        def forward(self, x, t, y=None):
            return self.answer.double()

    loss = Objective(SCHEDULE, prediction, weighting)(Guess(guess), x0, steps, noise)
    x_t = SCHEDULE.q_sample(x0, steps, noise)
    eps = as_eps(Oracle(guess), SCHEDULE, prediction)(x_t, steps)
    found = {"eps": eps, "x0": SCHEDULE.x0_from_eps(x_t, steps, eps)}
    found["v"] = target("v", SCHEDULE, found["x0"], steps, eps)
    kind = prediction if weighting == "own" else weighting
    if kind == "min-snr":
        error = (found["x0"] - x0).square().flatten(1).mean(1) * snr.clamp(max=5)
    else:
        error = (found[kind] - target(kind, SCHEDULE, x0, steps, noise)).square().flatten(1).mean(1)
    assert float(loss) == pytest.approx(float(error.mean()), rel=1e-5)


def test_the_own_weighting_is_none():
    for prediction in ("eps", "v", "x0"):
        assert (weights(prediction, prediction, SCHEDULE) == 1).all()


def test_what_cannot_predict_v_is_refused():
    v = TrainingOptions(prediction="v")
    for model in (bf_unet(8, 1, width=4), nn.Identity()):
        model.learned_sigma = True
        check_target(model, TrainingOptions(), "net")
        with pytest.raises(BenchError, match="'net' .* cannot be trained with prediction: v; give"):
            check_target(model, v, "net")
    with pytest.raises(BenchError, match="returns the noise by its construction"):
        check_target(bf_unet(8, 1, width=4), v, "bf")
    check_target(nn.Identity(), v, "other")


def test_a_control_returns_eps_whatever_the_suite_trains():
    control = Oracle(torch.ones(1))
    control.trains = False
    assert as_eps(control, SCHEDULE, "v")(torch.zeros(1, 1, 1, 1), torch.tensor([5])) == 1


def test_an_unknown_prediction_is_one_sentence():
    with pytest.raises(BenchError, match="must be one of eps, x0, v, not 'score'"):
        as_eps(nn.Identity(), SCHEDULE, "score")
