"""Controls that are made of a dataset: the same images and pools, permuted pixels or no colour."""

from __future__ import annotations

import numpy as np

from bench.randomness import numpy_generator

LUMA = np.array([19595, 38470, 7471])  # ITU-R 601, in 1/65536, as Pillow converts to grey


def pixel_permutation(side: int) -> np.ndarray:
    """Return the one fixed permutation of a side's pixels, (side^2,): pixel i of the variant is pixel p[i].

    It keeps the optimal PSNR and the spectrum of the optimal Jacobian, and destroys locality.
    """
    return numpy_generator(0, "pixel permutation", side).permutation(side * side)


def apply(images: np.ndarray, variant: str) -> np.ndarray:
    """Return uint8 images (n, H, W, C) as a variant: ``permuted`` or ``grey``, of the same shape."""
    count, side, _, channels = images.shape
    if variant == "permuted":
        return images.reshape(count, -1, channels)[:, pixel_permutation(side)].reshape(images.shape)
    if channels == 1:
        return images
    grey = (images.astype(np.int64) @ LUMA + 32768) >> 16
    return np.repeat(grey[..., None].astype(np.uint8), channels, axis=-1)
