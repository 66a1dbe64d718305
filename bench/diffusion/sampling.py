"""Samplers over a respaced schedule: ancestral (DDPM), and DDIM from deterministic to stochastic."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.diffusion.schedule import Schedule

Noise = Callable[[int], Tensor]


def _no_noise(index: int) -> Tensor:
    raise ValueError(f"this sampler needs the noise of step {index}")


@torch.no_grad()
def sample(
    model: nn.Module,
    schedule: Schedule,
    x: Tensor,
    sampler: str,
    noise: Noise = _no_noise,
    clip: bool = True,
    eta: float = 0.0,
    variance: str = "small",
) -> Tensor:
    """Return samples (B, C, H, W) in [-1, 1] from standard normal ``x`` of that shape.

    ``sampler`` is ``ddpm`` (Ho et al. 2020, algorithm 2), whose ``variance`` is the posterior's (``small``) or beta
    (``large``), unless the model learned it, or ``ddim`` (Song et al. 2021, Eq. 12), deterministic at ``eta`` 0 and as noisy
    as the posterior at 1.  ``noise(index)`` gives the noise of a step; ddim with ``eta`` 0 needs none.
    """
    for index in reversed(range(len(schedule))):
        t = torch.full((len(x),), int(schedule.timesteps[index]), device=x.device)
        if sampler == "ddim":
            mean, deviation = _ddim(model, schedule, x, t, index, clip, eta)
        else:
            mean, deviation = _ancestral(model, schedule, x, t, index, clip, variance)
        x = mean if index == 0 or deviation is None else mean + deviation * noise(index).to(mean)
    return x


def _ancestral(
    model: nn.Module, schedule: Schedule, x: Tensor, t: Tensor, index: int, clip: bool, variance: str
) -> tuple[Tensor, Tensor | float]:
    """Return mean and deviation of p(x_{t-1} | x_t)."""
    fixed = {"small": schedule.posterior_log_variance, "large": schedule.large_log_variance}[variance]
    if getattr(model, "learned_sigma", False):
        eps, values = model.raw(x, t).chunk(2, dim=1)
        deviation = (0.5 * schedule.learned_log_variance(values, index)).exp()
    else:
        eps, deviation = model(x, t), math.exp(0.5 * fixed[index])
    x0 = schedule.x0_from_eps(x, index, eps, clip)
    return schedule.posterior_mean(x0, x, index), deviation


def _ddim(
    model: nn.Module, schedule: Schedule, x: Tensor, t: Tensor, index: int, clip: bool, eta: float
) -> tuple[Tensor, float | None]:
    x0 = schedule.x0_from_eps(x, index, model(x, t), clip)
    eps = schedule.eps_from_x0(x, index, x0)  # again from the clipped estimate
    before = schedule.alphas_cumprod_previous[index]
    deviation = eta * math.sqrt(schedule.posterior_variance[index])
    mean = math.sqrt(before) * x0 + math.sqrt(1 - before - deviation**2) * eps
    return mean, deviation if eta else None
