"""Reference statistics of a dataset's train pool in a feature space, once per dataset and protocol."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.metrics.features import NAMES, features
from bench.randomness import numpy_generator


def reference_statistics(
    dataset: Dataset, space: str, count: int | None, device: str
) -> dict[str, np.ndarray]:
    """Return ``mean`` (d,), ``covariance`` (d, d), ``count``, ``features`` and the dataset's ``sha256``.

    Raises BenchError where the pool holds fewer than ``count`` images or the space is unknown.
    """
    if space not in NAMES:
        raise BenchError(f"There is no feature space {space!r}; known: {', '.join(NAMES)}.")
    if count is not None and count > len(dataset.train):
        raise BenchError(
            f"{dataset.folder.name} has {len(dataset.train)} training images, fewer than {count}."
        )
    chosen = slice(None)
    if count is not None:  # drawn, not the first: names often sort by class
        chosen = np.sort(numpy_generator(0, "reference").permutation(len(dataset.train))[:count])
    found = features(dataset.train[chosen], space, device)
    return {
        "mean": found.mean(0),
        "covariance": np.cov(found, rowvar=False),
        "count": np.array(len(found)),
        "features": np.array(NAMES[space]),
        "sha256": np.array(dataset.manifest["sha256"]),
    }
