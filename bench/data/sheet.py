"""A grid of images in one picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.files import atomic


def save_sheet(path: str | Path, images: np.ndarray, columns: int | None = None, scale: int = 2) -> None:
    """Write uint8 images (n, H, W, 1 or 3) as a grid, a grey line apart, ``scale`` times as large."""
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), 128, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet.squeeze(2) if channels == 1 else sheet)
    with atomic(path) as temporary:
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(
            temporary, "PNG"
        )


def channel_statistics(images: np.ndarray, block: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of uint8 images (n, H, W, C), block by block."""
    total = np.zeros((2, images.shape[3]), np.int64)
    for start in range(0, len(images), block):
        values = images[start : start + block].astype(np.int64)
        total += [values.sum((0, 1, 2)), (values**2).sum((0, 1, 2))]
    mean, square = total / (images.size // images.shape[3])
    return mean, np.sqrt(square - mean**2)
