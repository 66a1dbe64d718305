"""The two nearest images of each image, in pixels or in a feature space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

BLOCK = 256
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
