"""Controls that are made of a dataset: the same pools with permuted pixels, no colour, or fewer pixels.

A variant is computed where images are read; nothing of it is stored.
"""

from __future__ import annotations

import numpy as np

from bench.data.storage import Rows
from bench.support.randomness import numpy_generator

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


def resize(images: np.ndarray | Rows, side: int, filter: str) -> np.ndarray:
    """Return uint8 images (n, H, W, C) as (n, side, side, C), by Pillow's antialiased ``filter``."""
    from PIL import Image  # training reads views, mostly without this

    count, _, _, channels = images.shape
    made = np.empty((count, side, side, channels), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        picture = picture.resize((side, side), Image.Resampling[filter.upper()])
        made[i] = np.asarray(picture).reshape(made.shape[1:])
    return made


class View:
    """Images of a pool as a variant: indexed like an array (n, side, side, C) uint8, first axis only."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: np.ndarray | Rows, side: int, filter: str, variant: str | None) -> None:
        self.images, self.filter, self.variant = images, filter, variant
        self.shape = (len(images), side, side, images.shape[3])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return one image or several, computed."""
        found = np.asarray(self.images[index])
        several = found if found.ndim == 4 else found[None]
        if several.shape[1] != self.shape[1]:
            several = resize(several, self.shape[1], self.filter)
        if self.variant is not None:
            several = apply(several, self.variant)
        return several if found.ndim == 4 else several[0]
