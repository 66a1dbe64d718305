"""The training objective: weighted squared error of the prediction, plus the variational term of learned variances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.diffusion.prediction import target, weights
from bench.diffusion.schedule import Schedule


@dataclass(frozen=True)
class Objective:
    """What a training minimises: ``prediction`` and ``weighting`` as in :mod:`bench.diffusion.prediction`."""

    schedule: Schedule
    prediction: str = "eps"
    weighting: str = "own"

    @cached_property
    def _weights(self) -> np.ndarray | None:
        found = weights(self.prediction, self.weighting, self.schedule)
        return None if np.all(found == 1) else found

    def __call__(
        self, model: nn.Module, x0: Tensor, t: Tensor, noise: Tensor, y: Tensor | None = None
    ) -> Tensor:
        """Return the loss, a scalar: the mean of squared errors (Ho et al. 2020, Eq. 14), weighted per image.

        ``x0`` (B, C, H, W) in [-1, 1], ``t`` (B,) int64 in 0..T-1, ``noise`` standard normal like ``x0``, ``y`` labels
        (B,) or None.  A model with ``learned_sigma`` (``raw``, 2C channels) adds 0.001 T times the variational term in bits,
        its mean detached (Nichol & Dhariwal 2021, Eq. 16).
        """
        x_t = self.schedule.q_sample(x0, t, noise)
        wanted = target(self.prediction, self.schedule, x0, t, noise)
        if not getattr(model, "learned_sigma", False):
            return self._error(model(x_t, t, y).float(), wanted, t)
        eps, values = model.raw(x_t, t, y).float().chunk(2, dim=1)
        vlb = variational_bits(self.schedule, x0, x_t, t, eps.detach(), values)
        return self._error(eps, wanted, t) + 0.001 * len(self.schedule) * vlb.mean()

    def _error(self, found: Tensor, wanted: Tensor, t: Tensor) -> Tensor:
        if self._weights is None:
            return F.mse_loss(found, wanted)
        per_image = (found - wanted).square().flatten(1).mean(1)
        return (self.schedule.at(self._weights, t, per_image) * per_image).mean()


def variational_bits(
    schedule: Schedule, x0: Tensor, x_t: Tensor, t: Tensor, eps: Tensor, values: Tensor
) -> Tensor:
    """Return the variational bound's term of each image, (B,), in bits per dimension.

    KL(q(x_{t-1} | x_t, x_0) || p) for t > 0, the discretised likelihood of 8-bit pixels for t = 0.
    """
    true_mean = schedule.posterior_mean(x0, x_t, t)
    true_log = schedule.at(schedule.posterior_log_variance, t, x0)
    mean = schedule.posterior_mean(schedule.x0_from_eps(x_t, t, eps), x_t, t)
    log = schedule.learned_log_variance(values, t)
    divergence = 0.5 * (-1 + log - true_log + (true_log - log).exp() + (true_mean - mean) ** 2 * (-log).exp())
    first = -discretised_log_likelihood(x0, mean, 0.5 * log)
    bits = torch.where((t == 0).view(-1, 1, 1, 1), first, divergence)
    return bits.flatten(1).mean(1) / math.log(2)


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log probability of 8-bit pixels ``x`` in [-1, 1] under a Gaussian cut into 256 bins."""
    scale = (-log_scale).exp()
    upper = torch.special.ndtr((x - mean + 1 / 255) * scale)
    lower = torch.special.ndtr((x - mean - 1 / 255) * scale)
    probability = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return probability.clamp(min=1e-12).log()
