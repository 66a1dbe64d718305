"""The two nearest images of each image, in pixels or in a feature space, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from bench.metrics.numerics.parts import in_parts

BLOCK = 256  # queries at a time
CANDIDATES = 4  # by rounded products; the distances of these are then taken exactly


class Nearest(NamedTuple):
    """The two nearest images of each query: ``index`` (n, 2) and root mean square ``distance`` (n, 2)."""

    index: np.ndarray
    distance: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Nearest over second nearest distance (n,); 0 if both vanish."""
        first, second = self.distance.T
        return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], device: str = "cpu") -> Nearest:
    """Return the two nearest images for each of ``queries`` (n, d), by their position in the blocks taken together.

    A block (copies, m, d) holds the next m images; the ``copies`` of one image (itself, and mirrored) count as one,
    at the smaller distance.  There are at least 2 images in all.  Memory is that of the queries and of one block.
    """
    found = Nearest(np.full((len(queries), 2), -1), np.full((len(queries), 2), np.inf))
    centre, seen = queries.mean(0), 0
    for block in blocks:
        _, count, width = block.shape
        flat = block.reshape(-1, width)
        # centred: keeps the rounding of the products small
        table = torch.from_numpy((flat - centre).astype(np.float32)).to(device)
        squares = table.square().sum(1)

        def work(
            first: int, number: int, flat=flat, table=table, squares=squares, count=count, seen=seen
        ) -> None:
            rows = slice(first, first + number)
            products = torch.from_numpy((queries[rows] - centre).astype(np.float32)).to(device) @ table.T
            near = (
                (squares - 2 * products).topk(min(CANDIDATES, len(flat)), largest=False).indices.cpu().numpy()
            )
            exact = np.sqrt(((queries[rows, None] - flat[near]) ** 2).mean(-1))
            _merge(found, rows, near % count + seen, exact)

        in_parts(len(queries), BLOCK, work)
        seen += count
    return found


def _merge(found: Nearest, rows: slice, index: np.ndarray, distance: np.ndarray) -> None:
    """Put candidates (n, k) of new images among the two nearest so far; of equal distances the earlier image wins."""
    index = np.concatenate([found.index[rows], index], axis=1)
    distance = np.concatenate([found.distance[rows], distance], axis=1)
    order = np.argsort(distance, axis=1, kind="stable")
    index, distance = (np.take_along_axis(values, order, axis=1) for values in (index, distance))
    other = index != index[:, :1]
    second = np.where(other.any(1), other.argmax(1), 1)
    for k, column in enumerate((np.zeros_like(second), second)):
        here = np.arange(len(index)), column
        found.index[rows, k], found.distance[rows, k] = index[here], distance[here]
