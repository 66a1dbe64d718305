"""Images that two pools share: exactly, by sha256, or nearly, by distance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from bench.data.storage import Rows
from bench.support.console import Progress

NEAR = 8.0  # root mean squared difference, grey levels
CELLS = 8  # the first comparison is between means over at most 8 x 8 cells
SLACK = 0.25  # float32 rounding of squared distances up to 255^2
BLOCK = 1024

Images: TypeAlias = np.ndarray | Rows


class Repeat(NamedTuple):
    """Image ``index`` of ``pool`` is image ``other_index`` of ``other``, or nearly: ``rms`` grey levels away."""

    pool: str
    index: int  # type: ignore[assignment]
    other: str
    other_index: int
    rms: float


def find(pools: dict[str, Images], nearly: bool = True) -> tuple[list[Repeat], dict[str, int]]:
    """Return the images that an earlier pool holds too, and how many of each pool repeat one of the same pool.

    Without ``nearly`` only equal images are found.
    """
    keys = {pool: list(_hashes(images)) for pool, images in pools.items()}
    first: dict[str, dict[bytes, int]] = {}
    found: list[Repeat] = []
    for pool, images in pools.items():
        for other, seen in first.items():
            same = {i: seen[key] for i, key in enumerate(keys[pool]) if key in seen}
            found += [Repeat(pool, i, other, j, 0.0) for i, j in same.items()]
            if nearly:
                close = near(pools[other], images)
                found += [Repeat(pool, i, other, j, rms) for j, i, rms in close if i not in same]
        first[pool] = {}
        for i, key in enumerate(keys[pool]):
            first[pool].setdefault(key, i)
    return sorted(found), {pool: len(keys[pool]) - len(first[pool]) for pool in pools}


def counts(repeats: list[Repeat], within: dict[str, int], dropped: set[tuple[str, int]]) -> dict:
    """Return how many images of each pool another one holds too, and how many of them were dropped."""
    exact = {(repeat.pool, repeat.index) for repeat in repeats if repeat.rms == 0}
    near = {(repeat.pool, repeat.index) for repeat in repeats} - exact
    kinds = {"exact": exact, "near": near, "dropped": dropped}
    of_pool = {
        kind: {p: sum(pool == p for pool, _ in found) for p in within} for kind, found in kinds.items()
    }
    return {**of_pool, "within": within, "limit_rms": NEAR}


def _hashes(images: Images) -> Iterator[bytes]:
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


def near(one: Images, two: Images, limit: float = NEAR) -> list[tuple[int, int, float]]:
    """Return (index in ``one``, index in ``two``, rms in grey levels) of every pair closer than ``limit``, sorted.

    Every pair is compared, first by fingerprint; shifted, mirrored or recoloured copies are not found.
    Memory: the fingerprints of the smaller pool, and one block of the larger.
    """
    if len(one) > len(two):
        return sorted((i, j, rms) for j, i, rms in near(two, one, limit))
    blocks = [fingerprints(one[start : start + BLOCK]) for start in range(0, len(one), BLOCK)]
    pairs = []
    with Progress(len(two), "near duplicates", "image") as progress:
        for start in range(0, len(two), BLOCK):
            twos = np.asarray(two[start : start + BLOCK])
            b = fingerprints(twos)
            # |a - b|^2 < L  <=>  a.b - |a|^2 / 2 > (|b|^2 - L) / 2
            bound = ((b**2).sum(1) - limit**2 - SLACK) / 2
            for number, a in enumerate(blocks):
                product = a @ b.T
                product -= (a**2).sum(1, keepdims=True) / 2
                for i, j in np.argwhere(product > bound):
                    index = number * BLOCK + int(i)
                    rms = float(np.sqrt(np.mean((one[index].astype(np.float32) - twos[j]) ** 2)))
                    if rms < limit:
                        pairs.append((index, start + int(j), rms))
            progress.advance(len(twos))
    return sorted(pairs)
