"""Attention maps by layer, and how local they are (An et al. 2024, section 2.3 and Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Margin, Measurement, NoiseLevels, Result, Row, lacks_images
from bench.support.errors import BenchError
from bench.support.options import option

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.metrics.numerics.attention_maps import Layer


@dataclass(frozen=True)
class AttentionOptions(NoiseLevels):
    """Attention maps of the transformer layers (paper section 2.3)."""

    images: int = option(4, "test images to average over", "assumed", least=1)
    token: int | None = option(None, "token whose map is shown; null is the centre", "assumed", least=0)
    heads: Literal["mean", "each"] = option(
        "mean",
        "average maps and numbers over heads; each also keeps those of single heads",
        "assumed",
    )

    def passes(self) -> int:
        """Return how many images pass the network."""
        return self.images * len(self.step_indices)


DISTANCE = "mean Euclidean distance between query and key, weighted by attention"
LOCALITY = {
    "distance": Row(
        "tokens",
        "",
        "mean Euclidean distance between query and key, weighted by attention",
        Margin(0.05, "log-ratio"),
    ),
    "entropy": Row("nats", "", "mean entropy of a row of the attention map"),
    "mass_w3": Row("", "", "attention inside a 3x3 window"),
    "mass_w5": Row("", "", "attention inside a 5x5 window"),
    "mass_w7": Row("", "", "attention inside a 7x7 window"),
}

MEASUREMENT = Measurement(
    "attention",
    AttentionOptions,
    {f"attention_{name}": row for name, row in LOCALITY.items()}
    | {
        f"attention_head_{name}": Row(row.unit, row.better, f"attention_{name} of one head")
        for name, row in LOCALITY.items()
    },
    passes=lambda options, run, pixels: options.passes(),
    problem=lambda options, run, datasets: lacks_images("attention.images", options.images, run, datasets),
)


def measure(run: Run, options: AttentionOptions) -> Result:
    """Average the maps over heads, images and noise levels; a network without attention gives no rows.

    With ``heads: each``, maps and numbers of single heads are kept too.  Raises BenchError if the test pool holds
    too few images, or ``token`` is beyond the grid.
    """
    from bench.metrics.numerics.attention_maps import layers_of
    from bench.metrics.numerics.denoising import noisy, on_device

    grid = run.schedule.respace(options.steps)
    images = on_device(run.test_images(options.images), run.device)
    inputs = (
        (noisy(images, grid, step, "attention-noise"), int(grid.timesteps[step]))
        for step in options.step_indices
    )
    return _collect(layers_of(run.model, inputs, options.heads == "each"), options)


def _collect(layers: list[Layer], options: AttentionOptions) -> Result:
    """Put averaged maps and numbers together; maps of another grid than the finest are counted, not drawn."""
    steps = ",".join(map(str, options.step_indices))
    protocol = f"images={options.images};step_indices={steps};average="
    finest = max((layer.grid for layer in layers), default=(0, 0))
    drawn = {number: layer for number, layer in enumerate(layers, start=1) if layer.grid == finest}
    maps = {number: layer.averaged() for number, layer in drawn.items()}
    found = Result(
        arrays={
            "layers": np.array(list(drawn), dtype=np.int64),
            "windows": np.array([layer.window or 0 for layer in drawn.values()], dtype=np.int64),
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
