"""Test images that are also training images: exactly, by sha256, or nearly, by distance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from bench.data.storage import Rows
from bench.support.console import Progress

NEAR = 8.0  # root mean squared difference, grey levels
CELLS = 8  # the first comparison is between means over at most 8 x 8 cells
SLACK = 0.25  # float32 rounding of squared distances up to 255^2
BLOCK = 1024


def exact(train: np.ndarray | Rows, test: np.ndarray | Rows) -> tuple[dict[int, int], dict[str, int]]:
    """Return {index of a test image: index of the same training image}, and the repeats within each pool."""
    of_train: dict[bytes, int] = {}
    for i, key in enumerate(_hashes(train)):
        of_train.setdefault(key, i)
    of_test = list(_hashes(test))
    found = {i: of_train[key] for i, key in enumerate(of_test) if key in of_train}
    return found, {"train": len(train) - len(of_train), "test": len(of_test) - len(set(of_test))}


def _hashes(images: np.ndarray | Rows) -> Iterator[bytes]:
    for start in range(0, len(images), BLOCK):
        for image in images[start : start + BLOCK]:
            yield hashlib.sha256(image.tobytes()).digest()[:16]  # 128 bits tell images apart


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Return a perceptual fingerprint of each uint8 image (n, H, W, C): means over cells, float32 (n, d).

    Scaled so that the squared distance of two fingerprints never exceeds the mean squared difference of
    the images (Cauchy-Schwarz): what is far apart here is far apart in full.
    """
    count, side, _, channels = images.shape
    edges = np.linspace(0, side, min(CELLS, side) + 1).astype(int)
    sums = np.add.reduceat(images.astype(np.float32) - 127.5, edges[:-1], axis=1)
    sums = np.add.reduceat(sums, edges[:-1], axis=2)
    area = np.outer(np.diff(edges), np.diff(edges))[None, :, :, None]
    return (sums / np.sqrt(area * (side**2 * channels), dtype=np.float32)).reshape(count, -1)


def near(
    train: np.ndarray | Rows, test: np.ndarray | Rows, limit: float = NEAR
) -> list[tuple[int, int, float]]:
    """Return (test index, train index, rms in grey levels) of every pair closer than ``limit``, sorted.

    Every pair is compared, first by fingerprint; shifted, mirrored or recoloured copies are not found.
    Memory: the fingerprints of test, and one block of train.
    """
    blocks = [fingerprints(test[start : start + BLOCK]) for start in range(0, len(test), BLOCK)]
    pairs = []
    with Progress(len(train), "near duplicates", "image") as progress:
        for start in range(0, len(train), BLOCK):
            trains = np.asarray(train[start : start + BLOCK])
            b = fingerprints(trains)
            # |a - b|^2 < L  <=>  a.b - |a|^2 / 2 > (|b|^2 - L) / 2
            bound = ((b**2).sum(1) - limit**2 - SLACK) / 2
            for number, a in enumerate(blocks):
                product = a @ b.T
                product -= (a**2).sum(1, keepdims=True) / 2
                for i, j in np.argwhere(product > bound):
                    index = number * BLOCK + int(i)
                    rms = float(np.sqrt(np.mean((test[index].astype(np.float32) - trains[j]) ** 2)))
                    if rms < limit:
                        pairs.append((index, start + int(j), rms))
            progress.advance(len(trains))
    return sorted(pairs)
