"""A network's trajectory, and the closed-form denoisers of its own training images on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.diffusion.sampling import sample
from bench.diffusion.schedule import Schedule
from bench.metrics.numerics.cosines import directions
from bench.metrics.numerics.denoising import normal
from bench.models.controls import Control, Memoriser, Wiener
from bench.models.local_score import PatchScore, Source
from bench.support.errors import BenchError

if TYPE_CHECKING:
    from bench.jobs.run import Run

# The machines of Kamb & Ganguli with their sources of candidates; the other two have no patch
LOCAL: dict[str, Source] = {"equivariant": "inside", "boundary-broken": "border", "local": "place"}
WHOLE = {"ideal": Memoriser, "linear": Wiener}


class Trajectory(NamedTuple):
    """DDIM of a network from ``noises`` starts: at each step, 0 the least noisy, the noisy images ``x`` and the network's
    ``eps``, both (S, B, C, H, W); ``end`` (B, C, H, W) are the samples."""

    x: Tensor
    eps: Tensor
    end: Tensor


class _Watched(nn.Module):
    """A denoiser that keeps what it was given and what it returned."""

    def __init__(self, model: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.seen = model, []  # type: ignore[var-annotated]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.seen.append((x, eps := self.model(x, t)))
        return eps


def follow(model: nn.Module, grid: Schedule, start: Tensor) -> Trajectory:
    """Sample by DDIM from ``start`` (B, C, H, W), estimates clipped to [-1, 1], and keep every step."""
    watched = _Watched(model)
    end = sample(watched, grid, start, "ddim")
    x, eps = (torch.stack(parts[::-1]) for parts in zip(*watched.seen))
    return Trajectory(x, eps, end)


def starts(run: Run, count: int) -> Tensor:
    """Return the starting noises (count, C, H, W): noise k is the same for all runs of one image shape."""
    shape = run.channels, run.image_size, run.image_size
    return torch.stack([normal(shape, run.device, "agreement", k) for k in range(count)])


def machine(run: Run, name: str, patches: Sequence[int] = (3,)) -> Control:
    """Return a closed-form denoiser, fitted to the run's N images; ``patches`` as in ``local-score``."""
    if name in LOCAL:
        sizes = [int(size) for size in patches]
        model: Control = PatchScore(run.image_size, run.channels, sizes, LOCAL[name], "centre")
    else:
        model = WHOLE[name](run.image_size, run.channels)
    model.fit(run.train_images(), run.schedule)
    return model.to(run.device)


def at(grid: Schedule, index: int, count: int, device: torch.device) -> Tensor:
    """Return the timestep of a step of ``grid``, (count,)."""
    return torch.full((count,), int(grid.timesteps[index]), device=device)


@torch.no_grad()
def cosines_by_patch(score: PatchScore, grid: Schedule, path: Trajectory, sizes: Sequence[int]) -> np.ndarray:
    """Return the cosine of a machine's score with the network's, (S, sizes, B), on the network's trajectory."""
    found = []
    for index, (x, eps) in enumerate(zip(path.x, path.eps)):
        estimates = score.by_patch(x, at(grid, index, len(x), x.device), sizes)
        own = torch.stack([grid.eps_from_x0(x, index, x0) for x0 in estimates]).double().flatten(2)
        found.append(torch.cosine_similarity(own, eps.double().flatten(1)[None], dim=2).cpu().numpy())
    return np.stack(found)


@torch.no_grad()
def alike(ours: Tensor, theirs: Tensor) -> dict[str, np.ndarray]:
    """Return ``correlation``, ``r2`` and ``mse`` of each pair of images (B, ...), the first the network's.

    The correlation is that of pixels; R2 is 1 - sum (a - b)^2 / sum (a - mean a)^2 (Lukoianov et al. 2025); the squared
    error is the mean over pixels, range [-1, 1].
    """
    if ours.shape != theirs.shape:
        raise BenchError(
            f"Images {tuple(theirs.shape)} cannot be compared with {tuple(ours.shape)}; give trajectories of one "
            "sampler and grid."
        )
    a, b = (images.double().flatten(1) for images in (ours, theirs))
    error, spread = (a - b).square().sum(1), (a - a.mean(1, keepdim=True)).square().sum(1)
    found = {
        "correlation": (directions(a) * directions(b)).sum(1),
        "r2": 1 - error / spread.clamp(min=1e-12),
        "mse": error / a.shape[1],
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def agreement_by_step(model: nn.Module, grid: Schedule, path: Trajectory) -> dict[str, np.ndarray]:
    """Return :func:`alike` of the network's and a machine's x0 estimates, clipped, each (S, B), on the trajectory."""
    found: dict[str, list[np.ndarray]] = {}
    for index, (x, eps) in enumerate(zip(path.x, path.eps)):
        both = (eps, model(x, at(grid, index, len(x), x.device)))
        x0 = [grid.x0_from_eps(x, index, one, clip=True) for one in both]
        for name, values in alike(*x0).items():
            found.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in found.items()}
