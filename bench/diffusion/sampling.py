"""Samplers over a respaced schedule: ancestral (DDPM) and deterministic (DDIM)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.diffusion.schedule import Schedule

Noise = Callable[[int], Tensor]


@torch.no_grad()
def sample(
    model: nn.Module,
    schedule: Schedule,
    x: Tensor,
    sampler: str,
    noise: Noise | None = None,
    clip: bool = True,
) -> Tensor:
    """Return samples (B, C, H, W) in [-1, 1] from standard normal ``x`` of that shape.

    ``sampler`` is ``ddpm`` (variance: the posterior's, or the learned one; ``noise(index)`` gives the
    step's noise) or ``ddim`` (eta = 0, no noise).  Sources: Ho et al. 2020, algorithm 2; Song et al.
    2021, Eq. 12.
    """
    for index in reversed(range(len(schedule))):
        t = torch.full((len(x),), int(schedule.timesteps[index]), device=x.device)
        if sampler == "ddim":
            x = _ddim(model, schedule, x, t, index, clip)
        else:
            mean, log_variance = _ancestral(model, schedule, x, t, index, clip)
            x = mean if index == 0 else mean + (0.5 * log_variance).exp() * noise(index).to(mean)
    return x


def _ancestral(
    model: nn.Module, schedule: Schedule, x: Tensor, t: Tensor, index: int, clip: bool
) -> tuple[Tensor, Tensor]:
    """Return mean and log variance of p(x_{t-1} | x_t)."""
    if getattr(model, "learned_sigma", False):
        eps, values = model.raw(x, t).chunk(2, dim=1)
        log_variance = schedule.learned_log_variance(values, index)
    else:
        eps = model(x, t)
        log_variance = torch.tensor(schedule.posterior_log_variance[index], dtype=x.dtype, device=x.device)
    x0 = schedule.x0_from_eps(x, index, eps, clip)
    return schedule.posterior_mean(x0, x, index), log_variance


def _ddim(model: nn.Module, schedule: Schedule, x: Tensor, t: Tensor, index: int, clip: bool) -> Tensor:
    x0 = schedule.x0_from_eps(x, index, model(x, t), clip)
    eps = schedule.eps_from_x0(x, index, x0)  # again from the clipped estimate
    before = float(schedule.alphas_cumprod_previous[index])
    return math.sqrt(before) * x0 + math.sqrt(1 - before) * eps
