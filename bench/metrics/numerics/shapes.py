"""What eigenvectors look like, as numbers: local, oscillating, like the data's principal components, memorised.

Vectors are columns (d, k) over images flattened channels first; d = C x H x W.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg

from bench.support.randomness import numpy_generator

POOL = 4096  # images of the train pool behind the two bases of the data

Shape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True)
class Bases:
    """Orthonormal columns (d, k): ``pca`` of the train pool, ``dct`` in the order of the pool's variance along
    them, and ``train``, the span of the differences between the run's N training images (None if it is
    everything)."""

    pca: np.ndarray
    dct: np.ndarray
    train: np.ndarray | None


def flat(images: np.ndarray) -> np.ndarray:
    """Return uint8 (n, H, W, C) as centred float64 (n, d), channels first."""
    values = images.transpose(0, 3, 1, 2).reshape(len(images), -1) / 127.5
    return values - values.mean(0)


def draw(pool: np.ndarray) -> np.ndarray:
    """Return at most POOL images of a pool, drawn at random: names often sort by class."""
    chosen = numpy_generator(0, "bases").permutation(len(pool))[:POOL]
    return np.ascontiguousarray(pool[np.sort(chosen)])


def bases(pool: np.ndarray, train: np.ndarray, count: int) -> Bases:
    """Return the ``count`` leading vectors of each basis, from uint8 images (n, H, W, C)."""
    data, shape = flat(pool), (pool.shape[3], *pool.shape[1:3])
    return Bases(_pca(data, count), _dct(data, shape, count), _span(train))


def _pca(data: np.ndarray, count: int) -> np.ndarray:
    """By the smaller of the two Gram matrices, of pixels or of images."""
    few = count <= len(data) < data.shape[1]
    gram = data @ data.T if few else data.T @ data
    vectors = scipy.linalg.eigh(gram, subset_by_index=[len(gram) - count, len(gram) - 1])[1][:, ::-1]
    return np.linalg.qr(data.T @ vectors)[0] if few else vectors


def _dct(data: np.ndarray, shape: Shape, count: int) -> np.ndarray:
    """Products of cosines with the principal colours, those of the largest variance first.

    A stable sort and colours with a fixed sign: data without colour, or noise, give the same basis each time.
    """
    pixels = data.reshape(len(data), shape[0], -1)
    colours = np.linalg.eigh(np.einsum("ncp,ndp->cd", pixels, pixels))[1]
    turned = np.einsum("ncp,cd->ndp", pixels, colours).reshape(len(data), *shape)
    variance = np.square(scipy.fft.dctn(turned, axes=(2, 3), norm="ortho")).sum(0).ravel()
    chosen = np.argsort(-variance, kind="stable")[:count]
    waves = np.zeros((count, variance.size))
    waves[np.arange(count), chosen] = 1
    waves = scipy.fft.idctn(waves.reshape(count, *shape), axes=(2, 3), norm="ortho")
    return np.einsum("kdhw,cd->kchw", waves, colours).reshape(count, -1).T


def _span(train: np.ndarray) -> np.ndarray | None:
    if len(train) > train[0].size:
        return None
    _, singular, rows = np.linalg.svd(flat(train), full_matrices=False)
    return rows[singular > 1e-9 * max(singular[0], 1e-300)].T


def numbers(vectors: np.ndarray, shape: Shape, basis: Bases) -> dict[str, np.ndarray]:
    """Return what vectors (d, k) look like, by name, each (k,)."""
    count = vectors.shape[1]
    found = {
        "participation": participation(vectors, shape),
        "frequency": frequency(vectors, shape),
        "overlap_pca": overlap(vectors, basis.pca[:, :count]),
        "overlap_dct": overlap(vectors, basis.dct[:, :count]),
    }
    return found if basis.train is None else found | {"train_share": share(vectors, basis.train)}


def participation(vectors: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the share of pixels that each vector lives on, (k,): 1 / (H W sum_p w_p^2), w_p its energy at p.

    1 for even energy, 1 / (H W) for one pixel; channels are summed.
    """
    energy = np.square(vectors.T).reshape(-1, shape[0], shape[1] * shape[2]).sum(1)
    energy /= energy.sum(1, keepdims=True)
    return 1 / (energy.shape[1] * np.square(energy).sum(1))


def frequency(vectors: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the mean spatial frequency of each vector, (k,), in cycles per image, weighted by cosine power."""
    power = np.square(scipy.fft.dctn(vectors.T.reshape(-1, *shape), axes=(2, 3), norm="ortho")).sum(1)
    radius = np.hypot(np.arange(shape[1])[:, None], np.arange(shape[2])) / 2
    return (power * radius).sum((1, 2)) / power.sum((1, 2))


def overlap(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return, for each k, the mean squared cosine between the spans of the first k + 1 vectors of each, (k,).

    1 if the spans agree; (k + 1) / d on average for a random span.
    """
    cosines = np.square(vectors.T @ basis)
    return cosines.cumsum(0).cumsum(1).diagonal() / np.arange(1, len(cosines) + 1)


def share(vectors: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Return the share of each vector's energy inside a span, (k,)."""
    return np.square(span.T @ vectors).sum(0) / np.square(vectors).sum(0)
