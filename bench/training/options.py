"""The recipe of one training. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.support.options import STRICT, check, option


@dataclass(frozen=True)
class TrainingOptions:
    """How one network is trained. All of these change the result, so all are part of the recipe."""

    __pydantic_config__ = STRICT

    steps: int = option(400_000, "optimiser steps", "paper")
    batch: int = option(64, "images per step", "paper")
    learning_rate: float = option(1e-4, "constant AdamW rate", "assumed")
    weight_decay: float = option(0.0, "AdamW weight decay", "assumed")
    betas: list[float] = option([0.9, 0.999], "AdamW moment decays", "assumed")
    ema: float = option(0.9999, "decay of the weight average that is measured", "assumed")
    flip: bool = option(True, "mirror training images left to right with probability 1/2", "assumed")
    schedule: Literal["linear", "cosine"] = option("linear", "noise schedule", "assumed")
    timesteps: int = option(1000, "diffusion steps T", "assumed")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "autocast type of the forward pass", "assumed"
    )
    compile: bool = option(False, "use torch.compile")
    deterministic: bool = option(False, "deterministic CUDA kernels: the same bits on the same machine type")
    threads: int = option(1, "CPU threads; sums depend on it, so it belongs to the recipe")
    snapshots: list[int] = option(
        [], "steps after which the averaged weights are kept for measurements along training"
    )
    keep_raw: bool = option(False, "keep the last weights beside their average, to draw samples of them")

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"steps must be at least 1, not {self.steps}")
        check(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        check(self.learning_rate > 0, f"learning_rate must be positive, not {self.learning_rate}")
        check(self.weight_decay >= 0, f"weight_decay must not be negative, not {self.weight_decay}")
        check(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            "betas must be two numbers in [0, 1)",
        )
        check(0 <= self.ema < 1, f"ema must be in [0, 1), not {self.ema}")
        check(self.timesteps >= 2, f"timesteps must be at least 2, not {self.timesteps}")
        check(self.threads >= 1, f"threads must be at least 1, not {self.threads}")
        check(
            all(0 < s <= self.steps for s in self.snapshots),
            f"snapshots must lie in 1..steps ({self.steps}), not {self.snapshots}",
        )
