"""Controls that are made of a dataset: the same pools with permuted pixels, no colour, or fewer pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bench.data.options import DatasetOptions
from bench.support.randomness import numpy_generator

LUMA = np.array([19595, 38470, 7471])  # ITU-R 601, in 1/65536, as Pillow converts to grey


def pixel_permutation(side: int) -> np.ndarray:
    """Return the one fixed permutation of a side's pixels, (side^2,): pixel i of the variant is pixel p[i].

    It keeps the optimal PSNR and the spectrum of the optimal Jacobian, and destroys locality.
    """
    return numpy_generator(0, "pixel permutation", side).permutation(side * side)


def seen(images: np.ndarray, options: DatasetOptions) -> np.ndarray:
    """Return uint8 images (n, H, W, C) at the options' resolution and as their variant."""
    side = options.resolution
    if images.shape[1] != side:
        images = resize(images, side, options.filter)
    if options.variant == "permuted":
        return images.reshape(len(images), side**2, -1)[:, pixel_permutation(side)].reshape(images.shape)
    if options.variant == "grey" and images.shape[3] > 1:
        return ((images.astype(np.int64) @ LUMA + 32768) >> 16).astype(np.uint8)[..., None]
    return images


def resize(images: np.ndarray, side: int, filter: str) -> np.ndarray:
    """Return uint8 images (n, H, W, C) as (n, side, side, C), by Pillow's antialiased ``filter``."""
    made = np.empty((len(images), side, side, images.shape[3]), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        picture = picture.resize((side, side), Image.Resampling[filter.upper()])
        made[i] = np.asarray(picture).reshape(made.shape[1:])
    return made
