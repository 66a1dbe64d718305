"""The noise schedule of a discrete diffusion, and its arithmetic.

``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps`` with ``abar_t = prod(1 - beta_s)`` (Ho et al. 2020, Eq. 4;
An et al. 2024, section 2).  Coefficients are computed in float64 and rounded when used.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.support.errors import BenchError


@dataclass(frozen=True)
class Schedule:
    """A schedule of ``len(betas)`` steps.

    ``betas`` (S,) float64 in (0, 1); ``timesteps`` (S,) int64, the step of the full process that each
    corresponds to, which is what a network is given.  Index 0 is the least noisy step.
    """

    betas: np.ndarray
    timesteps: np.ndarray

    @cached_property
    def alphas_cumprod(self) -> np.ndarray:
        """``abar`` of each step, (S,) float64."""
        return np.cumprod(1 - self.betas)

    @cached_property
    def alphas_cumprod_previous(self) -> np.ndarray:
        """``abar`` of the step before, 1 for the first, (S,) float64."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @cached_property
    def posterior_variance(self) -> np.ndarray:
        """Variance of q(x_{t-1} | x_t, x_0), (S,) float64 (Ho et al. 2020, Eq. 7)."""
        return self.betas * (1 - self.alphas_cumprod_previous) / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> np.ndarray:
        """Its logarithm; the first entry, log 0, is replaced by the second."""
        return np.log(np.append(self._first_variance, self.posterior_variance[1:]))

    @cached_property
    def large_log_variance(self) -> np.ndarray:
        """Logarithm of beta, the larger bound of the variance; its first entry is that of the posterior's."""
        return np.log(np.append(self._first_variance, self.betas[1:]))

    @property
    def _first_variance(self) -> float:
        return (self.posterior_variance[1:] if len(self) > 1 else self.betas)[0]

    def __len__(self) -> int:
        return len(self.betas)

    def sigma(self, index: int) -> float:
        """Noise level relative to the image, ``sqrt((1 - abar) / abar)``, of a step."""
        return math.sqrt((1 - self.alphas_cumprod[index]) / self.alphas_cumprod[index])

    def respace(self, steps: int | str) -> Schedule:
        """Keep some steps: a count spread evenly with both ends, ``"ddimN"`` (a constant stride from 0), or
        ``"a,b,c"`` (the process in equal sections, from the least noisy, with these numbers of steps).

        Raises BenchError for other text and when more steps are asked for than there are.
        """
        kept = respaced_steps(steps, len(self))
        abar = self.alphas_cumprod[kept]
        betas = 1 - abar / np.append(1.0, abar[:-1])
        return dataclasses.replace(self, betas=betas, timesteps=self.timesteps[kept])

    def at(self, values: np.ndarray, index: int | Tensor, x: Tensor) -> Tensor:
        """Return the values at ``index`` (int or (B,)), shaped to multiply ``x`` (B, ...)."""
        picked = self._on_device(values, x.dtype, x.device)[index]
        return picked if picked.ndim == 0 else picked.view(-1, *[1] * (x.ndim - 1))

    @cached_property
    def _tables(self) -> dict:
        return {}

    def _on_device(self, values: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return ``values`` as a tensor, kept: a copy to a GPU in every step would wait for the GPU."""
        key = values.tobytes(), dtype, device
        if key not in self._tables:
            with torch.inference_mode(False):  # else a table born in inference mode could not serve training
                self._tables[key] = torch.as_tensor(values, dtype=dtype, device=device)
        return self._tables[key]

    def q_sample(self, x0: Tensor, index: int | Tensor, noise: Tensor) -> Tensor:
        """Return x_t of images ``x0`` (B, C, H, W) in [-1, 1] and standard normal ``noise``."""
        signal = self.at(np.sqrt(self.alphas_cumprod), index, x0)
        return signal * x0 + self.at(np.sqrt(1 - self.alphas_cumprod), index, x0) * noise

    def x0_from_eps(self, x_t: Tensor, index: int | Tensor, eps: Tensor, clip: bool = False) -> Tensor:
        """Return the one-step estimate of x_0 (An et al. 2024, Eq. 3), clipped to [-1, 1] if asked."""
        scale = self.at(np.sqrt(1 / self.alphas_cumprod), index, x_t)
        x0 = scale * x_t - self.at(np.sqrt(1 / self.alphas_cumprod - 1), index, x_t) * eps
        return x0.clamp(-1, 1) if clip else x0

    def eps_from_x0(self, x_t: Tensor, index: int | Tensor, x0: Tensor) -> Tensor:
        """Return the noise that leads from ``x0`` to ``x_t``."""
        scaled = self.at(np.sqrt(1 / self.alphas_cumprod), index, x_t) * x_t
        return (scaled - x0) / self.at(np.sqrt(1 / self.alphas_cumprod - 1), index, x_t)

    def eps_from_v(self, x_t: Tensor, index: int | Tensor, v: Tensor) -> Tensor:
        """Return the noise of a velocity ``v = sqrt(abar) eps - sqrt(1 - abar) x_0`` (Salimans & Ho 2022)."""
        return self.q_sample(v, index, x_t)

    def posterior_mean(self, x0: Tensor, x_t: Tensor, index: int | Tensor) -> Tensor:
        """Return the mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, Eq. 7)."""
        abar, before = self.alphas_cumprod, self.alphas_cumprod_previous
        first = self.at(self.betas * np.sqrt(before) / (1 - abar), index, x_t)
        second = self.at((1 - before) * np.sqrt(1 - self.betas) / (1 - abar), index, x_t)
        return first * x0 + second * x_t

    def learned_log_variance(self, values: Tensor, index: int | Tensor) -> Tensor:
        """Return the log variance that ``values`` in [-1, 1] interpolate between posterior and beta.

        Source: Nichol & Dhariwal 2021, Eq. 15.
        """
        low = self.at(self.posterior_log_variance, index, values)
        high = self.at(np.log(self.betas), index, values)
        share = (values + 1) / 2
        return share * high + (1 - share) * low


def respaced_steps(steps: int | str, total: int) -> np.ndarray:
    """Return the indices that respacing keeps, (S,) int64, ascending."""
    text = str(steps)
    try:
        counts = [int(text[4:])] if text.startswith("ddim") else [int(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"Cannot respace by {text!r}; give a count, 'ddimN', or sections 'a,b,c'.") from None
    if text.startswith("ddim"):
        for stride in range(1, total + 1):
            if len(range(0, total, stride)) == counts[0]:
                return np.arange(0, total, stride)
        raise BenchError(
            f"No constant stride leaves {counts[0]} of {total} diffusion steps; leave out 'ddim'."
        )
    short, longer = divmod(total, len(counts))
    kept, first = [], 0
    for number, count in enumerate(counts):
        size = short + (number < longer)
        if not 1 <= count <= size:
            raise BenchError(f"Cannot respace {size} diffusion steps to {count}; ask for 1 to {size}.")
        kept += [first + k for k in _spread(count, size)]
        first += size
    return np.array(kept)


def _spread(count: int, size: int) -> list[int]:
    """Return ``count`` of 0..size-1, both ends among them, by rounding (half to even) a running sum."""
    stride, position, kept = (size - 1) / max(count - 1, 1), 0.0, []
    for _ in range(count):
        kept.append(round(position))
        position += stride
    return kept


def linear(steps: int) -> Schedule:
    """Return the linear schedule, 1e-4 to 0.02 at 1000 steps, scaled by 1000 / steps otherwise (Ho et al. 2020)."""
    scale = 1000 / steps
    return Schedule(np.linspace(scale * 1e-4, scale * 0.02, steps), np.arange(steps))


def cosine(steps: int) -> Schedule:
    """Return the cosine schedule, betas capped at 0.999 (Nichol & Dhariwal 2021, Eq. 17)."""
    level = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    betas = [min(1 - after / before, 0.999) for before, after in zip(level, level[1:])]
    return Schedule(np.array(betas), np.arange(steps))


def make_schedule(name: str, steps: int = 1000) -> Schedule:
    """Return the schedule of that name: ``linear`` or ``cosine``."""
    return {"linear": linear, "cosine": cosine}[name](steps)
