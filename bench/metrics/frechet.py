"""Distances between samples and a pool in a feature space: Fréchet (Heusel et al. 2017, Eq. 6) and kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.metrics.declare import Arrays, Margin, Measurement, Reference, Result, Row
from bench.support.errors import nearest
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

DISTANCE = Margin(0.05, "log-ratio")
SPACE = "the feature space of the protocol"


class InSpace:
    """Options that name a feature space."""

    features: str | None
    classifier: str | None

    @property
    def space(self) -> str | None:
        """The name of the feature space in files; None for none."""
        return f"classifier-{self.classifier}" if self.features == "classifier" else self.features

    def __post_init__(self) -> None:
        check_least(self)
        check(
            (self.features == "classifier") == (self.classifier is not None),
            "features: classifier and classifier: DATASET go together",
        )


def classifiers(options: Any, dataset: str) -> list[Reference]:
    """Return the classifier whose features are the space, if it is one."""
    return [Reference(options.classifier, "classifier")] if options.classifier else []


def unknown_classifier(metric: str, classifier: str | None, datasets: Mapping) -> str | None:
    """Return a sentence where the classifier's dataset is not in ``config/datasets.yaml``."""
    if classifier is None or classifier in datasets:
        return None
    return (
        f"{metric}.classifier: {classifier!r} is not in config/datasets.yaml{nearest(classifier, datasets)}"
    )


@dataclass(frozen=True)
class FrechetOptions(InSpace):
    """Fréchet and kernel distance of the samples to a pool in a named feature space."""

    __pydantic_config__ = STRICT

    features: Literal["random-conv", "pixels", "inception", "classifier"] = option(
        "inception", "feature space; only 'inception' gives a FID", "assumed"
    )
    classifier: str | None = option(
        None, "labelled dataset whose small classifier is the feature space, with features: classifier"
    )
    pool: Literal["train", "test"] = option("train", "pool that the samples are compared with", "assumed")
    reference: int | None = option(
        None, "reference images from that pool; null takes all", "assumed", least=2
    )
    kernel_subsets: int = option(
        100, "random subsets that the kernel distance averages over", "assumed", least=1
    )
    kernel_subset_size: int = option(
        1000, "images of each subset, at most; fewer if there are fewer samples", "assumed", least=2
    )


def _problem(options: FrechetOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    size = getattr(datasets[run.dataset], options.pool) or math.inf
    if (options.reference or 0) > size:
        return f"frechet.reference is {options.reference}, {run.dataset} has {size} {options.pool} images; lower it"
    return unknown_classifier("frechet", options.classifier, datasets)


KERNEL = "squared kernel distance (cubic MMD) of samples to a pool in"
MEASUREMENT = Measurement(
    "frechet",
    FrechetOptions,
    {
        "frechet": Row(
            "", "lower", f"Fréchet distance of samples to a pool in {SPACE}", DISTANCE, "Fréchet distance"
        ),
        "fid": Row("", "lower", "Fréchet distance in Inception features", DISTANCE, "FID"),
        "kernel_distance": Row("", "lower", f"{KERNEL} {SPACE}"),
        "kid": Row("", "lower", f"{KERNEL} Inception features"),
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

    space = open_space(str(options.space), run.channels, run.device, classifier)
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
