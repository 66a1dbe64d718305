"""Is a sample a copy? Its nearest and second nearest training image, in pixels and in a feature space.

A sample counts as a copy where it is closer to its nearest training image than a third of the distance to the
second nearest (Yoon et al. 2023; Gu et al. 2023 use the same ratio).  The same is done for test images, which
cannot be copies: their share says what the criterion finds by chance, and their distance what is far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Arrays, Margin, Measurement, Result, Row
from bench.metrics.frechet import InSpace, classifiers, unknown_classifier
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.metrics.numerics.features import Space
    from bench.metrics.numerics.neighbours import Nearest

BLOCK = 2048  # training images whose features are in memory at once
SHOWN = 16  # samples whose nearest training image is kept for pictures


@dataclass(frozen=True)
class MemorizationOptions(InSpace):
    """Nearest training image of each sample, in pixels and in a feature space."""

    __pydantic_config__ = STRICT

    ratio: float = option(
        1 / 3,
        "a sample is a copy if its nearest training image is closer than this fraction of the distance to the second",
    )
    features: Literal["random-conv", "inception", "classifier"] | None = option(
        "inception", "feature space in addition to pixels; null: pixels only"
    )
    classifier: str | None = option(
        None, "labelled dataset whose small classifier is the feature space, with features: classifier"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.ratio < 1, f"ratio must lie between 0 and 1, not {self.ratio}")


COPY = (
    "share of samples that are closer to a training image than a share of the distance to the second nearest"
)
MEASUREMENT = Measurement(
    "memorization",
    MemorizationOptions,
    {
        "memorized_share": Row("", "lower", COPY, Margin(0.01), "share of copies"),
        "nearest_distance": Row(
            "", "", "root mean square distance to the nearest training image, mean over samples"
        ),
        "nearest_ratio": Row(
            "", "", "nearest over second nearest distance to a training image, mean over samples"
        ),
    },
    needs=("samples",),
    network=False,
    references=classifiers,
    applies=lambda run: run.train_size > 1,  # else there is no second nearest
    problem=lambda options, run, datasets: unknown_classifier("memorization", options.classifier, datasets),
)


def _nearest_in(space: Space, run: Run, images: dict[str, np.ndarray]) -> dict[str, Nearest]:
    """Return the nearest training images of each set of images, in a feature space."""
    from bench.metrics.numerics.features import features
    from bench.metrics.numerics.neighbours import Nearest, nearest

    train, flip = run.train_images(), run.spec.training.flip

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, len(train), BLOCK):
            part = train[first : first + BLOCK]
            yield np.stack([features(copy, space) for copy in ([part, part[:, :, ::-1]] if flip else [part])])

    queries = features(np.concatenate(list(images.values())), space)
    found = nearest(queries, blocks(), run.device)
    ends = np.cumsum([len(one) for one in images.values()])[:-1]
    parts = zip(np.split(found.index, ends), np.split(found.distance, ends))
    return {split: Nearest(*part) for split, part in zip(images, parts)}


def measure(
    run: Run, options: MemorizationOptions, samples: Result, classifier: Arrays | None = None
) -> Result:
    """Measure the share of copies among the samples, and among as many test images.

    Where training mirrored images, a mirrored training image is the same image.
    """
    from bench.metrics.numerics.features import open_space

    drawn = samples.arrays["samples"]
    images = {"": drawn, "test": run.test_images()[: len(drawn)]}
    names = ["pixels", *([options.space] if options.space else [])]
    found, rows, train = Result(), run.train_rows(), run.train_images()
    mirrored = str(run.spec.training.flip).lower()
    for name in names:
        space = open_space(name, run.channels, run.device, classifier)
        for split, near in _nearest_in(space, run, images).items():
            protocol = (
                f"space={space.name};images={len(near.distance)};{samples.arrays['protocol']};"
                f"ratio={options.ratio:.4g};mirrored={mirrored}"
            )
            found.add("memorized_share", (near.ratio < options.ratio).mean(), split, protocol=protocol)
            found.add("nearest_distance", near.distance[:, 0].mean(), split, protocol=protocol)
            found.add("nearest_ratio", near.ratio.mean(), split, protocol=protocol)
            key = f"{split or 'samples'}_{'pixels' if name == 'pixels' else 'features'}"
            found.arrays[f"{key}_index"] = rows[near.index]  # in the train pool
            found.arrays[f"{key}_distance"] = near.distance.astype(np.float32)
            if not split:
                found.arrays[f"nearest_{key}"] = train[near.index[:SHOWN, 0]]
    return found
