"""The options of each measurement. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.support.options import STRICT, check, option


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
