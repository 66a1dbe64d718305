"""Every option of a run, as plain dataclasses: the single source of names, types, defaults and meaning.

``bench.suite.config`` validates YAML against these with pydantic and generates the JSON schema and the
options page; a worker reads ``run.json`` into the same classes without pydantic.  The ``status`` of an
option says where its default comes from: ``paper`` (read in or recovered from An et al. 2024),
``assumed`` (the paper does not say, or it could not be read), ``ours``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.support.errors import BenchError

STRICT = {"extra": "forbid"}  # read by pydantic; harmless elsewhere


def option(default: Any, help: str, status: str = "ours") -> Any:
    """Declare a field with its meaning and the source of its default."""
    metadata = {"description": help, "status": status}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def required(help: str) -> Any:
    """Declare a field that the user must give."""
    return field(metadata={"description": help, "status": "ours"})


def check(condition: bool, message: str) -> None:
    """Refuse an impossible value (ValueError: ``bench.suite.config`` adds file and key)."""
    if not condition:
        raise ValueError(message)


def space_name(features: str | None, classifier: str | None) -> str | None:
    """Return the name of a feature space in files."""
    return f"classifier-{classifier}" if features == "classifier" else features


def check_classifier(features: str | None, classifier: str | None) -> None:
    """Refuse the one without the other."""
    check(
        (features == "classifier") == (classifier is not None),
        "features: classifier and classifier: DATASET go together",
    )


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


@dataclass(frozen=True)
class PsnrOptions:
    """PSNR of the one-step x0 estimate on train and test images (paper section 2.1, Eqs. 3-5)."""

    __pydantic_config__ = STRICT

    images: int = option(300, "K, images from each of train and test", "paper")
    steps: int | Literal["all"] = option(50, "respaced step indices; all takes every step", "paper")
    clip: bool = option(True, "clip the x0 estimate to the data range", "assumed")
    unclipped: bool = option(False, "give the PSNR of the unclipped estimate beside it, as psnr_unclipped")

    def __post_init__(self) -> None:
        check(self.images >= 1, f"images must be at least 1, not {self.images}")
        check(self.steps == "all" or self.steps >= 1, f"steps must be all or at least 1, not {self.steps}")


COMPLETE = (
    4096  # `leading: auto` takes the complete spectrum up to this dimension: 128 MiB a matrix in float64
)


@dataclass(frozen=True)
class JacobianOptions:
    """Spectrum and eigenvectors of the network's input-output Jacobian (paper section 2.2)."""

    __pydantic_config__ = STRICT

    images: int = option(1, "test images", "assumed")
    step_indices: list[int] = option([7], "noise levels, as indices of the PSNR step grid", "assumed")
    steps: int = option(50, "respaced step indices of that grid", "paper")
    operators: list[Literal["eps", "x0", "denoiser"]] = option(
        ["eps", "x0"],
        "Jacobians of which output: the noise, the image estimate, or I - sigma d eps, which is the latter "
        "by x_t / sqrt(abar)",
        "assumed",
    )
    vectors: list[int] = option([0, 112, 224], "indices of the eigenvectors that are kept", "paper")
    leading: int | Literal["auto"] | None = option(
        None,
        "leading values only, matrix-free; null takes the complete spectrum; "
        f"auto takes it up to dimension {COMPLETE}, beyond it 16 leading values, or as many as `vectors` needs",
    )

    def __post_init__(self) -> None:
        check(self.images >= 1, f"images must be at least 1, not {self.images}")
        check(
            self.leading in (None, "auto") or self.leading >= 1,
            f"leading must be null, auto or at least 1, not {self.leading}",
        )
        check(len(self.operators) > 0, "operators must name at least one of eps, x0, denoiser")
        check(
            all(0 <= i < self.steps for i in self.step_indices) and len(self.step_indices) > 0,
            f"step_indices must lie in 0..steps - 1 ({self.steps - 1}), not {self.step_indices}",
        )
        check(all(i >= 0 for i in self.vectors), "vectors must not be negative")


@dataclass(frozen=True)
class AttentionOptions:
    """Attention maps of the transformer layers (paper section 2.3)."""

    __pydantic_config__ = STRICT

    images: int = option(4, "test images to average over", "assumed")
    step_indices: list[int] = option(
        [7], "noise levels to average over, as indices of the PSNR step grid", "assumed"
    )
    steps: int = option(50, "respaced step indices of that grid", "paper")
    token: int | None = option(None, "token whose map is shown; null is the centre", "assumed")
    heads: Literal["mean", "each"] = option(
        "mean",
        "maps and numbers averaged over heads; each keeps those of single heads beside them",
        "assumed",
    )

    def __post_init__(self) -> None:
        check(self.images >= 1, f"images must be at least 1, not {self.images}")
        check(
            all(0 <= i < self.steps for i in self.step_indices) and len(self.step_indices) > 0,
            f"step_indices must lie in 0..steps - 1 ({self.steps - 1}), not {self.step_indices}",
        )
        check(self.token is None or self.token >= 0, f"token must be null or at least 0, not {self.token}")


@dataclass(frozen=True)
class FrechetOptions:
    """How samples are drawn, and their Fréchet and kernel distance to a pool in a named feature space."""

    __pydantic_config__ = STRICT

    samples: int = option(10_000, "generated images", "assumed")
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler", "assumed")
    steps: int = option(250, "sampling steps", "assumed")
    weights: Literal["ema", "raw"] = option(
        "ema", "weights that draw: the average, or the last ones (training.keep_raw)", "assumed"
    )
    features: Literal["random-conv", "pixels", "inception", "classifier"] = option(
        "inception", "feature space; only 'inception' gives a FID", "assumed"
    )
    classifier: str | None = option(
        None, "labelled dataset whose small classifier is the feature space, with features: classifier"
    )
    pool: Literal["train", "test"] = option("train", "pool that the samples are compared with", "assumed")
    reference: int | None = option(None, "reference images from that pool; null takes all", "assumed")
    kernel_subsets: int = option(100, "random subsets that the kernel distance averages over", "assumed")
    kernel_subset_size: int = option(
        1000, "images of each subset, at most; fewer where there are fewer samples", "assumed"
    )

    @property
    def space(self) -> str:
        """Name of the feature space in files."""
        return space_name(self.features, self.classifier)

    def __post_init__(self) -> None:
        check_classifier(self.features, self.classifier)
        check(self.kernel_subsets >= 1, f"kernel_subsets must be at least 1, not {self.kernel_subsets}")
        check(
            self.kernel_subset_size >= 2,
            f"kernel_subset_size must be at least 2, not {self.kernel_subset_size}",
        )
        check(self.samples >= 2, f"samples must be at least 2, not {self.samples}")
        check(self.steps >= 1, f"steps must be at least 1, not {self.steps}")
        check(
            self.reference is None or self.reference >= 2,
            f"reference must be at least 2, not {self.reference}",
        )


@dataclass(frozen=True)
class MemorizationOptions:
    """Nearest training image of each sample that ``frechet`` draws, in pixels and in a feature space."""

    __pydantic_config__ = STRICT

    ratio: float = option(
        1 / 3,
        "a sample is a copy where its nearest training image is closer than this share of the distance to the second",
    )
    features: Literal["random-conv", "inception", "classifier"] | None = option(
        "inception", "feature space beside pixels; null looks at pixels alone"
    )
    classifier: str | None = option(
        None, "labelled dataset whose small classifier is the feature space, with features: classifier"
    )

    @property
    def space(self) -> str | None:
        """Name of the feature space in files."""
        return space_name(self.features, self.classifier)

    def __post_init__(self) -> None:
        check(0 < self.ratio < 1, f"ratio must lie between 0 and 1, not {self.ratio}")
        check_classifier(self.features, self.classifier)


@dataclass(frozen=True)
class HalvesOptions:
    """Half b against half a on the same noise (Kadkhodaie et al. 2024, Fig. 2); measured of runs with half: b."""

    __pydantic_config__ = STRICT

    images: int = option(100, "test images on which the outputs are compared")
    steps: int = option(10, "respaced step indices at which the outputs are compared")
    samples: int = option(128, "pairs of samples from the same noise")
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler; its noise is shared too")
    sampling_steps: int = option(250, "sampling steps")

    def __post_init__(self) -> None:
        for name in ("images", "steps", "sampling_steps"):
            check(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        check(self.samples >= 2, f"samples must be at least 2, not {self.samples}")


@dataclass(frozen=True)
class AlongOptions:
    """PSNR and attention along training, at the checkpoints that `training.snapshots` keeps, and at the end."""

    __pydantic_config__ = STRICT

    psnr: PsnrOptions | None = option(None, "PSNR of each checkpoint, with these options")
    attention: AttentionOptions | None = option(None, "attention of each checkpoint, with these options")

    def __post_init__(self) -> None:
        check(self.psnr is not None or self.attention is not None, "along must name psnr, attention or both")
        heads = self.attention is not None and self.attention.heads == "each"
        check(not heads, "along averages attention over heads; leave out heads: each")


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
class ModelSpec:
    """A resolved model preset: the family's factory and its options."""

    name: str
    family: str
    options: dict[str, Any]
    file: str | None = None  # a user's own file that holds the factory


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


def to_dict(value: Any) -> Any:
    """Return a dataclass as plain JSON values."""
    return dataclasses.asdict(value)


def from_dict(kind: Any, value: Any) -> Any:
    """Rebuild a dataclass of this module from plain JSON values; raises BenchError on unknown keys."""
    if isinstance(kind, types.UnionType):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if value is None else from_dict(inner[0], value)
    if not dataclasses.is_dataclass(kind):
        return value
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := set(value) - known:
        raise BenchError(
            f"{kind.__name__} has no option {sorted(unknown)[0]!r}; it was written by another version."
        )
    return kind(**{key: from_dict(hints[key], item) for key, item in value.items()})
