"""Distances between samples and a pool in a feature space: Fréchet (Heusel et al. 2017, Eq. 6) and kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.metrics.declare import Arrays, Margin, Measurement, Reference, Result, Row
from bench.support.errors import nearest
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

DISTANCE = Margin(0.05, "log-ratio")


def space_name(features: str | None, classifier: str | None) -> str | None:
    """Return the name of a feature space in files."""
    return f"classifier-{classifier}" if features == "classifier" else features


def check_classifier(features: str | None, classifier: str | None) -> None:
    """Refuse the one without the other."""
    check(
        (features == "classifier") == (classifier is not None),
        "features: classifier and classifier: DATASET go together",
    )


def classifiers(options: Any, dataset: str) -> list[Reference]:
    """Return the classifier whose features are the space, if it is one."""
    return [Reference(options.classifier, "classifier")] if options.classifier else []


def unknown_classifier(metric: str, classifier: str | None, datasets: Mapping) -> str | None:
    """Return a sentence where the classifier's dataset is not in ``config/datasets.yaml``."""
    if classifier in (None, *datasets):
        return None
    return (
        f"{metric}.classifier: {classifier!r} is not in config/datasets.yaml{nearest(classifier, datasets)}"
    )


@dataclass(frozen=True)
class FrechetOptions:
    """Fréchet and kernel distance of the samples to a pool in a named feature space."""

    __pydantic_config__ = STRICT

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
        check(
            self.reference is None or self.reference >= 2,
            f"reference must be at least 2, not {self.reference}",
        )


def _problem(options: FrechetOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    size = getattr(datasets[run.dataset], options.pool) or math.inf
    if (options.reference or 0) > size:
        return f"frechet.reference is {options.reference}, {run.dataset} has {size} {options.pool} images; lower it"
    return unknown_classifier("frechet", options.classifier, datasets)


MEASUREMENT = Measurement(
    "frechet",
    FrechetOptions,
    {
        "frechet": Row(
            "",
            "lower",
            "Fréchet distance of samples to the train pool in the feature space of the protocol",
            DISTANCE,
            "Fréchet distance",
        ),
        "fid": Row("", "lower", "Fréchet distance in Inception features", DISTANCE, "FID"),
        "kernel_distance": Row(
            "",
            "lower",
            "squared kernel distance (cubic MMD) of samples to a pool in the feature space of the protocol",
        ),
        "kid": Row("", "lower", "squared kernel distance (cubic MMD) in Inception features"),
    },
    needs=("samples",),
    network=False,
    references=lambda options, dataset: [
        Reference(dataset, f"{options.space}.{options.pool}.{options.reference or 'all'}"),
        *classifiers(options, dataset),
    ],
    problem=_problem,
)


def measure(
    run: Run, options: FrechetOptions, samples: Result, statistics: Arrays, classifier: Arrays | None = None
) -> Result:
    """Compare samples with the statistics of a pool; called ``fid`` and ``kid`` only in Inception features."""
    from bench.metrics.numerics.distances import frechet_distance, kernel_distance
    from bench.metrics.numerics.features import features, open_space

    space = open_space(options.space, run.channels, run.device, classifier)
    drawn = features(samples.arrays["samples"], space)
    covariance = np.atleast_2d(np.cov(drawn, rowvar=False))
    value = frechet_distance(drawn.mean(0), covariance, statistics["mean"], statistics["covariance"])
    protocol = (
        f"features={space.name};{samples.arrays['protocol']};reference={options.pool}:{statistics['count']}"
    )
    found, inception = Result(), options.features == "inception"
    found.add("fid" if inception else "frechet", value, protocol=protocol)
    others = statistics["features"].astype(np.float64)
    size = min(options.kernel_subset_size, len(drawn), len(others))
    value = kernel_distance(drawn, others, options.kernel_subsets, size)
    kernel = f"{protocol};kept={len(others)};subsets={options.kernel_subsets}x{size}"
    found.add("kid" if inception else "kernel_distance", value, protocol=kernel)
    return found
