"""Attention maps by layer, and how local they are (An et al. 2024, section 2.3 and Fig. 4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import to_network
from bench.metrics.measure import Measurement
from bench.models.attention import AttentionCore, window_mask
from bench.models.capture import capture_attention
from bench.options import AttentionOptions
from bench.randomness import generator
from bench.runs import Run

WINDOWS = (3, 5, 7)


def grid_map(weights: Tensor, extra: int) -> Tensor:
    """Return the part (..., T, T) of a map between grid tokens, rows summing to 1 again."""
    inner = weights[..., extra:, extra:]
    return inner / inner.sum(-1, keepdim=True).clamp(min=1e-12)


def locality(weights: Tensor, grid: tuple[int, int]) -> dict[str, float]:
    """Return distance (tokens), entropy (nats) and mass inside windows of maps (..., T, T), averaged over all rows."""
    rows, columns = grid
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    distance = torch.cdist(place, place)
    weights = weights.double()
    mean = weights.flatten(0, -3).mean(0)
    found = {
        "attention_distance": (mean * distance).sum(-1).mean(),
        "attention_entropy": torch.special.entr(weights).sum(-1).mean(),
    }
    for window in WINDOWS:
        inside = window_mask(grid, window, 0, torch.device("cpu"))
        found[f"attention_mass_w{window}"] = (mean * inside).sum(-1).mean()
    return {metric: float(value) for metric, value in found.items()}


@torch.no_grad()
def measure(run: Run, options: AttentionOptions) -> Measurement:
    """Average the maps over heads, images and noise levels; a network without attention gives no rows."""
    cores = {
        name: m
        for name, m in run.model.named_modules()
        if isinstance(m, AttentionCore) and m.grid is not None
    }
    grid_of_steps = run.schedule.respace(options.steps)
    images = to_network(torch.from_numpy(run.test_images(options.images))).to(run.device)
    maps: dict[str, list[Tensor]] = {name: [] for name in cores}
    numbers: dict[str, list[dict[str, float]]] = {name: [] for name in cores}
    for step in options.step_indices:
        noise = torch.randn(images.shape, generator=generator(0, "attention-noise", step)).to(images.device)
        noisy = grid_of_steps.q_sample(images, step, noise)
        t = torch.tensor([int(grid_of_steps.timesteps[step])], device=images.device)
        for image in noisy.split(1):
            with capture_attention(run.model) as captured:
                run.model(image, t)
            for name, core in cores.items():
                inner = grid_map(captured[name], core.extra)
                maps[name].append(inner.mean((0, 1)))
                numbers[name].append(locality(inner, core.grid))
    return _collect(cores, maps, numbers, options)


def _collect(
    cores: dict[str, AttentionCore], maps: dict, numbers: dict, options: AttentionOptions
) -> Measurement:
    """Put averaged maps and numbers together; maps of another grid than the finest are counted, not drawn."""
    steps = ",".join(map(str, options.step_indices))
    protocol = f"images={options.images};step_indices={steps};average=heads,images,steps"
    finest = max((core.grid for core in cores.values()), default=(0, 0))
    drawn = [name for name, core in cores.items() if core.grid == finest]
    found = Measurement(
        arrays={
            "layers": np.array([list(cores).index(name) + 1 for name in drawn], dtype=np.int64),
            "windows": np.array([cores[name].window or 0 for name in drawn], dtype=np.int64),
            "maps": np.array([torch.stack(maps[name]).mean(0).numpy() for name in drawn], dtype=np.float32),
            "grid": np.array(finest, dtype=np.int64),
            "token": np.array(_token(finest) if options.token is None else options.token),
        }
    )
    for layer, name in enumerate(cores, start=1):
        for metric in numbers[name][0]:
            value = float(np.mean([n[metric] for n in numbers[name]]))
            found.add(metric, value, "test", "layer", layer, protocol)
    return found


def _token(grid: tuple[int, int]) -> int:
    return grid[0] // 2 * grid[1] + grid[1] // 2
