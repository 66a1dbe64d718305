"""Reference statistics of a pool in a feature space, once per dataset, pool, count, resize and weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset
from bench.metrics.numerics.features import Space, features
from bench.support.errors import BenchError
from bench.support.randomness import numpy_generator

KERNEL_IMAGES = 10_000  # features that are kept, for the kernel distance


def reference_statistics(dataset: Dataset, space: Space, pool: str, count: int | None) -> dict:
    """Return ``mean`` (d,), ``covariance`` (d, d), ``features`` (at most 10^4, d) float32 and ``record``.

    ``record`` is JSON: dataset, its content hash, pool, number of images, and the space's own record.
    Raises BenchError where the pool holds fewer than ``count`` images.
    """
    images = getattr(dataset, pool)
    if count is not None and count > len(images):
        raise BenchError(f"{dataset.folder.name} has {len(images)} {pool} images, fewer than {count}.")
    chosen = slice(None)
    if count is not None:  # drawn, not the first: names often sort by class
        chosen = np.sort(numpy_generator(0, "reference").permutation(len(images))[:count])
    found = features(images[chosen], space)
    kept = np.sort(numpy_generator(0, "kernel").permutation(len(found))[:KERNEL_IMAGES])
    record = {
        "dataset": dataset.name,
        "sha256": dataset.manifest["sha256"],
        "pool": pool,
        "count": len(found),
        **space.record,
    }
    return {
        "mean": found.mean(0),
        "covariance": np.atleast_2d(np.cov(found, rowvar=False)),
        "features": found[kept].astype(np.float32),
        "record": np.array(json.dumps(record)),
    }


def read_reference(file: Path, expected: dict[str, str], command: str) -> tuple[dict, dict]:
    """Return the arrays and the record of a statistics file; ``expected`` are entries its record must have.

    Raises BenchError, naming the file, the entry and ``command`` as the cure, where it is missing, damaged, or
    was made of other data, another pool or with other weights.
    """
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = {key: opened[key] for key in ("mean", "covariance", "features")}
            record = json.loads(str(opened["record"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(f"{file} is missing or damaged ({error}); make it with `{command}`.") from error
    for key, value in expected.items():
        if record.get(key) != value:
            raise BenchError(
                f"{file} was made with {key} {str(record.get(key))[:16]}, this run needs {value[:16]}; "
                f"make it again with `{command}`."
            )
    return arrays, record
