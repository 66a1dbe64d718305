"""Attention maps by layer, and how local they are (An et al. 2024, section 2.3 and Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import to_network
from bench.jobs.run import Run
from bench.metrics.measure import Measurement
from bench.metrics.options import AttentionOptions
from bench.models.attention import AttentionCore, window_mask
from bench.models.capture import attention_cores, capture_attention
from bench.support.errors import BenchError
from bench.support.randomness import generator

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


@dataclass
class _Layer:
    """What is gathered of one layer: a map (heads, T, T) and numbers (overall, then by head) of each image and step."""

    core: AttentionCore
    maps: list[Tensor] = field(default_factory=list)
    numbers: list[list[dict[str, float]]] = field(default_factory=list)

    def add(self, weights: Tensor, heads: bool) -> None:
        """Add the map (1, heads, extra + T, extra + T) of one image."""
        inner = grid_map(weights, self.core.extra)
        parts = [inner, *(inner[:, h : h + 1] for h in range(inner.shape[1] if heads else 0))]
        self.maps.append(inner[0] if heads else inner.mean(1))
        self.numbers.append([locality(part, self.core.grid) for part in parts])

    def averaged(self) -> np.ndarray:
        """Return the map averaged over images and steps, (heads, T, T)."""
        return torch.stack(self.maps).mean(0).numpy().astype(np.float32)


@torch.no_grad()
def measure(run: Run, options: AttentionOptions) -> Measurement:
    """Average the maps over heads, images and noise levels; a network without attention gives no rows.

    With ``heads: each``, maps and numbers of single heads stand beside. Raises BenchError where the test pool holds
    too few images, or ``token`` is beyond the grid.
    """
    layers = {name: _Layer(core) for name, core in attention_cores(run.model).items()}
    grid_of_steps = run.schedule.respace(options.steps)
    images = to_network(torch.from_numpy(run.test_images(options.images))).to(run.device)
    for step in options.step_indices:
        noise = torch.randn(images.shape, generator=generator(0, "attention-noise", step)).to(images.device)
        noisy = grid_of_steps.q_sample(images, step, noise)
        t = torch.tensor([int(grid_of_steps.timesteps[step])], device=images.device)
        for image in noisy.split(1):
            with capture_attention(run.model) as captured:
                run.model(image, t)
            for name, layer in layers.items():
                layer.add(captured[name], options.heads == "each")
    return _collect(list(layers.values()), options)


def _collect(layers: list[_Layer], options: AttentionOptions) -> Measurement:
    """Put averaged maps and numbers together; maps of another grid than the finest are counted, not drawn."""
    steps = ",".join(map(str, options.step_indices))
    protocol = f"images={options.images};step_indices={steps};average="
    finest = max((layer.core.grid for layer in layers), default=(0, 0))
    drawn = {number: layer for number, layer in enumerate(layers, start=1) if layer.core.grid == finest}
    maps = {number: layer.averaged() for number, layer in drawn.items()}
    found = Measurement(
        arrays={
            "layers": np.array(list(drawn), dtype=np.int64),
            "windows": np.array([layer.core.window or 0 for layer in drawn.values()], dtype=np.int64),
            "maps": np.array([heads.mean(0) for heads in maps.values()], dtype=np.float32),
            "grid": np.array(finest, dtype=np.int64),
            "token": np.array(_token(finest, options.token)),
        }
    )
    if options.heads == "each":
        found.arrays |= {f"heads_{number}": heads for number, heads in maps.items()}
    for number, layer in enumerate(layers, start=1):
        for metric in layer.numbers[0][0]:
            whole, *heads = np.mean([[n[metric] for n in numbers] for numbers in layer.numbers], axis=0)
            found.add(metric, whole, "test", "layer", number, f"{protocol}heads,images,steps")
            single = metric.replace("attention", "attention_head")
            for head, value in enumerate(heads):
                found.add(single, value, "test", "layer", number, f"{protocol}images,steps;head={head}")
    return found


def _token(grid: tuple[int, int], token: int | None) -> int:
    tokens = grid[0] * grid[1]
    if token is not None and tokens and token >= tokens:
        raise BenchError(f"attention.token = {token} is beyond the {tokens} tokens of the network; lower it.")
    return grid[0] // 2 * grid[1] + grid[1] // 2 if token is None else token
