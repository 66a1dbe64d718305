"""Reference statistics of a pool in a feature space."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Dataset
from bench.metrics.numerics.features import features, open_space
from bench.support.errors import BenchError
from bench.support.randomness import numpy_generator

KERNEL_IMAGES = 10_000  # features that are kept, for the kernel distance


def make(
    dataset: Dataset, name: str, device: str, classifier: dict[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return the statistics ``SPACE.POOL.COUNT`` of a dataset (COUNT a number, or ``all``).

    ``mean`` (d,), ``covariance`` (d, d), ``features`` (at most 10^4, d) float32 and ``count``, images of the pool.
    Raises BenchError for another name, and if the pool holds fewer than COUNT images.
    """
    space, pool, text = [*name.split("."), "", ""][:3]
    if pool not in ("train", "test") or not (text == "all" or text.isdecimal()):
        raise BenchError(f"{name!r} names no statistics; say SPACE.train.all or SPACE.test.COUNT.")
    images = getattr(dataset, pool)
    count = len(images) if text == "all" else int(text)
    if count > len(images):
        raise BenchError(f"{dataset.name} has {len(images)} {pool} images, fewer than {count}.")
    if count < len(images):  # drawn at random: names often sort by class
        images = images[np.sort(numpy_generator(0, "reference").permutation(len(images))[:count])]
    found = features(images, open_space(space, dataset.manifest["channels"], device, classifier))
    kept = np.sort(numpy_generator(0, "kernel").permutation(len(found))[:KERNEL_IMAGES])
    return {
        "mean": found.mean(0),
        "covariance": np.atleast_2d(np.cov(found, rowvar=False)),
        "features": found[kept].astype(np.float32),
        "count": np.array(count),
    }
