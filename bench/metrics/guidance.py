"""Classifier-free guidance in sampling (Ho & Salimans 2022, Eq. 6): samples of labelled networks by guidance scale.

eps = eps(x, null) + w (eps(x, y) - eps(x, null)); w = 0 draws without labels, 1 with them alone.  All scales start
from the same noise and meet the same labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result, Row
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.jobs.run import Run

SHOWN = 16  # samples of each scale that are kept


@dataclass(frozen=True)
class GuidanceOptions:
    """Samples of a network with a null label, drawn by classifier-free guidance and compared with a pool."""

    __pydantic_config__ = STRICT

    scales: list[float] = option([0.0, 1.0, 2.0, 4.0], "guidance scales w")
    count: int = option(
        1000, "samples of each scale; sample k has class k modulo their number", least=2, most=10_000_000
    )
    sampler: Literal["ddpm", "ddim"] = option("ddim", "sampler")
    steps: int = option(50, "sampling steps", least=1)
    features: Literal["random-conv", "pixels", "inception"] = option("inception", "feature space")
    pool: Literal["train", "test"] = option("train", "pool that the samples are compared with")
    reference: int = option(10_000, "reference images from that pool, at most", least=2)
    neighbours: int = option(5, "k of the balls behind precision and recall", least=1)

    def __post_init__(self) -> None:
        check_least(self)
        check(len(set(self.scales)) == len(self.scales) > 0, "scales must name each scale once")
        check(all(0 <= w < 100 for w in self.scales), f"scales must lie in [0, 100), not {self.scales}")
        check(self.count > self.neighbours, "count must be more than neighbours")


def _has_null(options: dict[str, Any]) -> bool:
    return options.get("num_classes", 0) > 0 and options.get("label_dropout", 0) > 0


MEASUREMENT = Measurement(
    "guidance",
    GuidanceOptions,
    {
        "guided_frechet": Row("", "lower", "Fréchet distance of guided samples to a pool, by scale"),
        "guided_precision": Row("", "higher", "precision of guided samples, by scale"),
        "guided_recall": Row("", "higher", "recall of guided samples, by scale"),
    },
    passes=lambda options, run, pixels: 2 * len(options.scales) * options.count * options.steps,
    applies=lambda run: _has_null(run.model.options),
)


def measure(run: Run, options: GuidanceOptions) -> Result:
    """Draw samples at each scale and compare them; arrays are the first samples of each, ``samples_SCALE``."""
    from bench.metrics.fidelity import compare, reference_images
    from bench.metrics.numerics.features import features, open_space
    from bench.metrics.numerics.guided import draw_guided

    space = open_space(options.features, run.channels, run.device)
    real, found = features(reference_images(run, options.pool, options.reference), space), Result()
    for scale in options.scales:
        drawn = draw_guided(run, options, scale)
        values = compare(real, features(drawn, space), options.neighbours, run.device)
        protocol = (
            f"features={space.name};weights=ema;samples={options.count};sampler={options.sampler};steps={options.steps};"
            f"reference={options.pool}:{len(real)};scale={scale:g}"
        )
        found.add("guided_frechet", values["fidelity_frechet"], protocol=protocol)
        for metric in ("precision", "recall"):
            found.add(
                f"guided_{metric}", values[metric], protocol=f"{protocol};neighbours={options.neighbours}"
            )
        found.arrays[f"samples_{scale:g}"] = np.ascontiguousarray(drawn[:SHOWN])
    return found
