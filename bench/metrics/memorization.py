"""Is a sample a copy? Its nearest and second nearest training image, in pixels and in a feature space.

A sample counts as a copy where it is closer to its nearest training image than a third of the distance to the
second nearest (Yoon et al. 2023; Gu et al. 2023 use the same ratio).  The same is done for test images, which
cannot be copies: their share says what the criterion finds by chance, and their distance what is far.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from bench.jobs.run import Run
from bench.metrics.features import Space, features, open_space
from bench.metrics.measure import Measurement
from bench.metrics.options import MemorizationOptions
from bench.metrics.samples import read_samples
from bench.support.errors import BenchError

BLOCK = 256
SHOWN = 16  # samples whose nearest training image is kept, to be looked at
CANDIDATES = 4  # by rounded products; the distances of these are then taken exactly


class Nearest(NamedTuple):
    """The two nearest images of each query: ``index`` (n, 2) and root mean square ``distance`` (n, 2)."""

    index: np.ndarray
    distance: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Nearest over second nearest distance (n,); 0 where both vanish."""
        first, second = self.distance.T
        return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def nearest(queries: np.ndarray, others: np.ndarray, device: str = "cpu") -> Nearest:
    """Return the two nearest of ``others`` (copies, m, d) for each of ``queries`` (n, d).

    The ``copies`` of one image (itself, and mirrored) count as one, at the smaller distance; m is at least 2.
    """
    _, count, width = others.shape
    flat = others.reshape(-1, width)
    centre = flat.mean(0, dtype=np.float64)  # keeps the rounding of the products small
    table = torch.from_numpy((flat - centre).astype(np.float32)).to(device)
    squares = table.square().sum(1)
    indices, distances = [], []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        products = torch.from_numpy((block - centre).astype(np.float32)).to(device) @ table.T
        near = (squares - 2 * products).topk(min(CANDIDATES, len(flat)), largest=False).indices.cpu().numpy()
        exact = np.sqrt(((block[:, None] - flat[near]) ** 2).mean(-1))
        for found, distance in zip(near % count, exact):
            order = np.argsort(distance, kind="stable")
            second = next(k for k in order if found[k] != found[order[0]])
            pair = [order[0], second]
            indices.append(found[pair])
            distances.append(distance[pair])
    return Nearest(np.array(indices), np.array(distances))


def _nearest_in(space: Space, run: Run, images: dict[str, np.ndarray]) -> dict[str, Nearest]:
    """Return the nearest training images of each set of images, in a feature space."""
    train = run.train_images()
    copies = [train, train[:, :, ::-1]] if run.spec.training.flip else [train]
    known = np.stack([features(copy, space) for copy in copies])
    return {name: nearest(features(queries, space), known, run.device) for name, queries in images.items()}


def measure(run: Run, options: MemorizationOptions) -> Measurement:
    """Measure the share of copies among the samples, and among as many test images.

    Where training mirrored images, a mirrored training image is the same image.  Raises BenchError where N is 1:
    there is no second nearest.
    """
    if run.spec.train_size < 2:
        raise BenchError(
            f"{run.spec.name} has one training image; memorization needs two, for the second nearest."
        )
    samples, drawn = read_samples(run)
    images = {"": samples, "test": run.test_images()[: len(samples)]}
    names = ["pixels", *([options.space] if options.space else [])]
    found, rows, train = Measurement(arrays={}), run.train_rows(), run.train_images()
    for name in names:
        space = open_space(name, run.channels, run.device, run.results)
        mirrored = str(run.spec.training.flip).lower()
        for split, near in _nearest_in(space, run, images).items():
            count = len(near.distance)
            protocol = (
                f"space={space.name};images={count};{drawn};ratio={options.ratio:.4g};mirrored={mirrored}"
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
