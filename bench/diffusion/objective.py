"""The training objective: noise prediction, with the hybrid term where a network learns its variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.diffusion.schedule import Schedule


def loss(
    model: nn.Module, schedule: Schedule, x0: Tensor, t: Tensor, noise: Tensor, y: Tensor | None = None
) -> Tensor:
    """Return the mean squared error of the predicted noise, a scalar (Ho et al. 2020, Eq. 14).

    ``x0`` (B, C, H, W) in [-1, 1], ``t`` (B,) int64 in 0..T-1, ``noise`` standard normal like ``x0``.  A model
    with ``raw`` (2C channels) adds 0.001 T times the variational term in bits, its mean detached
    (Nichol & Dhariwal 2021, Eq. 16).
    """
    x_t = schedule.q_sample(x0, t, noise)
    if not getattr(model, "learned_sigma", False):
        return F.mse_loss(model(x_t, t, y).float(), noise)
    eps, values = model.raw(x_t, t, y).float().chunk(2, dim=1)
    vlb = variational_bits(schedule, x0, x_t, t, eps.detach(), values)
    return F.mse_loss(eps, noise) + 0.001 * len(schedule) * vlb.mean()


def variational_bits(
    schedule: Schedule, x0: Tensor, x_t: Tensor, t: Tensor, eps: Tensor, values: Tensor
) -> Tensor:
    """Return the variational bound's term of each image, (B,), in bits per dimension.

    KL(q(x_{t-1} | x_t, x_0) || p) for t > 0, the discretised likelihood of 8-bit pixels for t = 0.
    """
    true_mean = schedule.posterior_mean(x0, x_t, t)
    true_log = schedule._at(schedule.posterior_log_variance, t, x0)
    mean = schedule.posterior_mean(schedule.x0_from_eps(x_t, t, eps), x_t, t)
    log = schedule.learned_log_variance(values, t)
    divergence = 0.5 * (-1 + log - true_log + (true_log - log).exp() + (true_mean - mean) ** 2 * (-log).exp())
    first = -discretised_log_likelihood(x0, mean, 0.5 * log)
    bits = torch.where((t == 0).view(-1, 1, 1, 1), first, divergence)
    return bits.flatten(1).mean(1) / math.log(2)


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log probability of 8-bit pixels ``x`` in [-1, 1] under a Gaussian cut into 256 bins."""
    normal = torch.distributions.Normal(0.0, 1.0)
    scale = (-log_scale).exp()
    upper = normal.cdf((x - mean + 1 / 255) * scale)
    lower = normal.cdf((x - mean - 1 / 255) * scale)
    probability = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return probability.clamp(min=1e-12).log()
