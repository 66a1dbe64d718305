"""What one checkpoint gives to the clocks: copies among its samples, their distance from the data, the loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.integrate import trapezoid
from torch import Tensor

from bench.data.optima import mixture_score
from bench.data.options import VECTORS
from bench.data.pixels import to_network, to_uint8
from bench.diffusion.sampling import sample
from bench.metrics.numerics.denoising import normal
from bench.metrics.numerics.distances import frechet_distance
from bench.metrics.numerics.features import features, open_space
from bench.metrics.numerics.neighbours import nearest
from bench.metrics.numerics.parts import in_parts
from bench.support.randomness import numpy_generator

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.metrics.clocks import ClocksOptions

BATCH = 512
BOOTSTRAPS = 200
LEVELS = 50  # noise levels of the integral over log(snr)


class Stage(NamedTuple):
    """A checkpoint: which samples are copies (n,), what its distance is computed from (n, ...), the loss by split."""

    copies: np.ndarray
    units: np.ndarray
    losses: dict[str, float]


class Stages:
    """Measures checkpoints of a run alike: the same starting noise, images and noise at each."""

    def __init__(self, run: Run, options: ClocksOptions) -> None:
        self.run, self.options, self.made = run, options, run.dataset.manifest["made"]
        self.vectors = self.made.get("family") in VECTORS
        self.train, self.test = run.train_images(), run.test_images(options.images)
        self.space = None if self.vectors else open_space(options.features, run.channels, run.device)
        self.name = f"features={self.space.name}" if self.space else f"divergence;levels={LEVELS}"

    def at(self, run: Run) -> Stage:
        """Measure one checkpoint."""
        drawn = self._draw(run)
        units = features(drawn, self.space) if self.space else self._divergences(run)
        return Stage(self._copies(drawn), units, self._losses(run))

    @cached_property
    def chance(self) -> np.ndarray:
        """Which test images look like copies, (images,): they cannot be."""
        return self._copies(self.test)

    def distances(self, units: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of each checkpoint (S,), and those of resampled units (B, S), the same at all checkpoints."""
        draws = numpy_generator(0, "clocks/bootstrap", 0)
        count = len(units[0])
        picks = [np.arange(count), *draws.integers(0, count, (BOOTSTRAPS, count))]
        found = np.array([[self._distance(one[pick]) for one in units] for pick in picks])
        return found[0], found[1:]

    def _distance(self, units: np.ndarray) -> float:
        if self.space is None:
            return float(units.mean())
        return frechet_distance(units.mean(0), np.atleast_2d(np.cov(units, rowvar=False)), *self._reference)

    @cached_property
    def _reference(self) -> tuple[np.ndarray, np.ndarray]:
        found = features(self.run.test_images(), self.space)
        return found.mean(0), np.atleast_2d(np.cov(found, rowvar=False))

    def _draw(self, run: Run) -> np.ndarray:
        """Return uint8 samples (n, H, W, C), or vectors as they come."""
        shape = (self.options.count, run.channels, run.image_size, run.image_size)
        start, schedule = (
            normal(shape, run.device, "clocks/samples", 0),
            run.schedule.respace(self.options.steps),
        )
        parts: list[Tensor] = []

        def work(first: int, count: int) -> None:
            part = start[first : first + count]
            parts.append(sample(run.model, schedule, part, "ddim", clip=not self.vectors).cpu())

        in_parts(self.options.count, BATCH, work)
        drawn = torch.cat(parts)
        return drawn.permute(0, 2, 3, 1).numpy() if self.vectors else to_uint8(drawn).numpy()

    def _copies(self, images: np.ndarray) -> np.ndarray:
        """Return whether each image is a copy (n,): its nearest training image against the second nearest."""
        flat = [one.reshape(len(one), -1).astype(np.float64) for one in (images, self.train)]
        mirrored = [self.train[:, :, ::-1].reshape(len(self.train), -1).astype(np.float64)]
        block = np.stack([flat[1], *(mirrored if self.run.spec.training.flip else [])])
        return nearest(flat[0], [block], self.run.device).ratio < self.options.ratio

    def _losses(self, run: Run) -> dict[str, float]:
        """Return the mean squared error of eps at one timestep, on as many train images as test images."""
        index, pools = self.options.timestep, {"train": self.train, "test": self.test}
        found = {}
        for split, images in pools.items():
            x0 = to_network(images[np.arange(len(self.test)) % len(images)]).to(run.device)
            noise = normal(x0.shape, run.device, "clocks/loss", 0)
            error = _eps(run, run.schedule.q_sample(x0, index, noise), index) - noise
            found[split] = float(error.double().square().mean())
        return found

    def _divergences(self, run: Run) -> np.ndarray:
        """Return the divergence at each test vector (K,), nats: half the integral of |eps - exact eps|^2 over log(snr)."""
        x0, grid = to_network(self.test).to(run.device), run.schedule.respace(LEVELS)
        errors = []
        for index in range(LEVELS):
            x_t = grid.q_sample(x0, index, normal(x0.shape, run.device, "clocks/divergence", index))
            sigma, abar = grid.sigma(index), grid.alphas_cumprod[index]
            noisy = x_t.flatten(1).double().cpu().numpy() / abar**0.5
            exact = -sigma * mixture_score(noisy, sigma, **(self.made.get("parameters") or {}))
            eps = _eps(run, x_t, int(grid.timesteps[index])).flatten(1).double().cpu().numpy()
            errors.append(((eps - exact) ** 2).sum(1))
        ratio = np.log(grid.alphas_cumprod / (1 - grid.alphas_cumprod))
        return trapezoid(np.array(errors), -ratio, axis=0) / 2


@torch.no_grad()
def _eps(run: Run, x_t: Tensor, timestep: int) -> Tensor:
    """Return the noise that the network predicts in x_t (B, C, H, W)."""
    parts: list[Tensor] = []

    def work(first: int, count: int) -> None:
        part = x_t[first : first + count]
        parts.append(run.model(part, torch.full((len(part),), timestep, device=part.device)))

    in_parts(len(x_t), BATCH, work)
    return torch.cat(parts)
