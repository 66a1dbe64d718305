"""A run, fully resolved, from the options that each room declares. Torch-free."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from bench.metrics.options import (
    AlongOptions,
    AttentionOptions,
    FrechetOptions,
    HalvesOptions,
    JacobianOptions,
    MemorizationOptions,
    PsnrOptions,
)
from bench.models.spec import ModelSpec
from bench.support.options import STRICT, option
from bench.training.options import TrainingOptions


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured of each run; a metric that is null is left out."""

    __pydantic_config__ = STRICT

    psnr: PsnrOptions | None = option(None, "PSNR and PSNR gap")
    jacobian: JacobianOptions | None = option(None, "Jacobian spectrum")
    attention: AttentionOptions | None = option(None, "attention maps (transformers only)")
    frechet: FrechetOptions | None = option(None, "samples, their Fréchet and kernel distance")
    memorization: MemorizationOptions | None = option(
        None, "nearest training image of each sample; needs frechet, which draws them"
    )
    along: AlongOptions | None = option(None, "PSNR and attention at kept checkpoints")
    halves: HalvesOptions | None = option(None, "two networks trained on disjoint halves, on the same noise")


METRICS = tuple(f.name for f in dataclasses.fields(MeasureOptions))


@dataclass(frozen=True)
class RunSpec:
    """One training, fully resolved: dataset x model x N x shuffle, the recipe, and what is measured."""

    suite: str
    name: str
    dataset: str
    model: ModelSpec
    train_size: int
    shuffle: int
    recipe: str
    training: TrainingOptions
    measure: MeasureOptions
    half: Literal["a", "b"] = "a"  # which of two disjoint sets of N training images

    @property
    def partner(self) -> str:
        """Name of the half a that a half b is compared with."""
        return self.name.removesuffix("half-b").rstrip(".-")
