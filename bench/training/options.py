"""The recipe of one training. Torch-free."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.support.options import STRICT, check, option, to_dict

if TYPE_CHECKING:
    from bench.suite.options import RunSpec

# Options that came later: at their defaults they leave a recipe's digest as it was.
LATER = (
    "prediction", "weighting", "labels", "rate_schedule", "warmup", "clip", "ema_ramp", "accumulate", "optimiser",
    "momentum",
)  # fmt: skip

SPAN = 1000  # from the first log-spaced checkpoint to the last, at most


@dataclass(frozen=True)
class TrainingOptions:
    """How one network is trained. All of these change the result, so all are part of the recipe."""

    __pydantic_config__ = STRICT

    steps: int = option(400_000, "optimiser steps", "paper")
    batch: int = option(64, "images per step", "paper")
    accumulate: int = option(1, "equal parts in which a batch goes through the network, to save memory")
    prediction: Literal["eps", "v", "x0"] = option(
        "eps", "what the network's output means: noise, velocity or image", "assumed"
    )
    weighting: Literal["own", "eps", "x0", "v", "min-snr"] = option(
        "own",
        "which squared error is minimised: the prediction's own, another one's, or min(snr, 5) times that of x0",
    )
    labels: Literal["none", "own", "random"] = option(
        "none",
        "the class of each image that a network with num_classes is given: its own, or one drawn at random",
    )
    optimiser: Literal["adamw", "sgd"] = option("adamw", "optimiser", "assumed")
    learning_rate: float = option(1e-4, "peak learning rate", "assumed")
    rate_schedule: Literal["constant", "linear", "cosine"] = option(
        "constant", "how the rate decays from the end of the warm-up to zero at the last step", "assumed"
    )
    warmup: int = option(0, "steps over which the rate rises linearly from zero", "assumed")
    clip: float | None = option(None, "largest gradient norm; null does not clip", "assumed")
    weight_decay: float = option(0.0, "weight decay: decoupled with adamw, L2 with sgd", "assumed")
    betas: list[float] = option([0.9, 0.999], "decay rates of adamw's moments", "assumed")
    momentum: float = option(0.9, "momentum of sgd")
    ema: float = option(0.9999, "decay of the weight average that is measured", "assumed")
    ema_ramp: bool = option(False, "average with decay min(ema, (1 + s) / (10 + s)) after s steps")
    flip: bool = option(True, "mirror training images left to right with probability 1/2", "assumed")
    schedule: Literal["linear", "cosine"] = option("linear", "noise schedule", "assumed")
    timesteps: int = option(1000, "diffusion steps T", "assumed")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "autocast type of the forward pass", "assumed"
    )
    compile: bool = option(False, "use torch.compile")
    deterministic: bool = option(False, "deterministic CUDA kernels: the same bits on the same machine type")
    threads: int = option(1, "CPU threads; sums depend on their number, so it is part of the recipe")
    snapshots: list[int] = option(
        [], "steps after which the averaged weights are kept for measurements along training"
    )
    checkpoints: int = option(
        0,
        "checkpoints to keep and measure, the last at the end, each at most twice the step of the one before",
    )
    keep_raw: bool = option(False, "also keep the last weights, to draw samples with them")

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "threads"):
            value = getattr(self, name)
            check(value >= 1, f"{name} must be at least 1, not {value}")
        check(
            self.batch % self.accumulate == 0,
            f"batch must be a multiple of accumulate ({self.accumulate}), not {self.batch}",
        )
        check(
            0 < self.learning_rate < float("inf"),
            f"learning_rate must be positive and finite, not {self.learning_rate}",
        )
        check(
            0 <= self.weight_decay < float("inf"),
            f"weight_decay must be finite and not negative, not {self.weight_decay}",
        )
        check(
            0 <= self.warmup < self.steps,
            f"warmup must be at least 0 and less than steps ({self.steps}), not {self.warmup}",
        )
        check(self.clip is None or self.clip > 0, f"clip must be positive or null, not {self.clip}")
        check(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            "betas must be two numbers in [0, 1)",
        )
        for name in ("ema", "momentum"):
            value = getattr(self, name)
            check(0 <= value < 1, f"{name} must be in [0, 1), not {value}")
        check(self.timesteps >= 2, f"timesteps must be at least 2, not {self.timesteps}")
        check(
            self.schedule != "linear" or self.timesteps > 20,  # its betas end at 20 / timesteps
            f"the linear schedule needs more than 20 timesteps, not {self.timesteps}",
        )
        check(
            all(0 < s <= self.steps for s in self.snapshots),
            f"snapshots must lie in 1..steps ({self.steps}), not {self.snapshots}",
        )
        check(self.checkpoints >= 0, f"checkpoints must not be negative, not {self.checkpoints}")

    @property
    def kept(self) -> list[int]:
        """The steps whose averaged weights are kept: ``snapshots``, and ``checkpoints`` log-spaced ones.

        Up to ten of these double; more fill the last three decades of the training.
        """
        ratio = min(2.0, SPAN ** (1 / max(self.checkpoints - 1, 1)))
        spaced = {max(1, round(self.steps / ratio**k)) for k in range(self.checkpoints)}
        return sorted(spaced.union(self.snapshots))


def recipe(spec: RunSpec) -> dict[str, Any]:
    """Return the part of a run that its weights depend on, in one form: runs that train alike have equal ones."""
    value = to_dict(spec)
    found = {key: value[key] for key in ("dataset", "model", "train_size", "shuffle", "half")}
    return {**found, "training": _in_one_form(spec.training)}


def _in_one_form(options: TrainingOptions) -> dict[str, Any]:
    value = to_dict(options)
    if options.weighting == options.prediction:
        value["weighting"] = "own"
    value |= {"snapshots": options.kept}
    value.pop("checkpoints")
    value.pop("momentum" if options.optimiser == "adamw" else "betas")
    default = {f.name: f.default for f in dataclasses.fields(options)}
    return {key: v for key, v in value.items() if key not in LATER or v != default[key]}


def recipe_changes(old: RunSpec, new: RunSpec) -> list[str]:
    """Return a line ``training.steps: 400 -> 40`` for each difference of two recipes, empty if they train alike."""
    before, after = _flat(recipe(old)), _flat(recipe(new))
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in changed]


def _flat(value: dict, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return found
