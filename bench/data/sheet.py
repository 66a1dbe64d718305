"""A grid of images in one picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.dataset import Dataset
from bench.data.options import POOLS, DatasetOptions
from bench.support.files import atomic
from bench.support.options import from_dict


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


def evenly(total: int, count: int) -> np.ndarray:
    """Return up to ``count`` rows, evenly over ``total``."""
    return np.linspace(0, total - 1, min(count, total)).astype(int)


def describe(dataset: Dataset) -> list[str]:
    """Return lines on the pools: counts, channel means and deviations, classes, and how they were split."""
    lines = []
    for pool in POOLS:
        if not dataset.manifest[pool]:
            continue
        images, labels = getattr(dataset, pool), dataset.labels(pool)
        means, deviations = (", ".join(f"{v:.2f}" for v in values) for values in channel_statistics(images))
        lines.append(f"{pool}: {len(images)} images, channel means {means}, deviations {deviations} (of 255)")
        if labels is not None and labels.ndim == 1:
            counts = np.bincount(labels)
            lines.append(
                f"{pool}: {np.count_nonzero(counts)} classes of {counts[counts > 0].min()} to {counts.max()}"
            )
        elif labels is not None:
            lines.append(f"{pool}: {labels.shape[1]} attributes of each image")
    return [*lines, f"split: {split_rule(dataset.manifest['made'])}"]


def split_rule(made: dict) -> str:
    """Say in words how the options of a dataset split its images."""
    if made["family"] is not None:
        return f"independent draws of the family, seed {made['seed']}"
    options = from_dict(DatasetOptions, made)
    parts = []
    for pool in POOLS:
        if (key := options.source_of(pool)) is not None:
            shared = any(options.source_of(other) == key for other in POOLS if other != pool)
            count = getattr(options, pool) or ("the rest" if shared else "all")
            parts.append(f"{pool} is {count} of {key}")
    return f"{', '.join(parts)}; drawn at random with seed {made['seed']} where not all"


def channel_statistics(images: np.ndarray, block: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of uint8 images (n, H, W, C), block by block."""
    total = np.zeros((2, images.shape[3]), np.int64)
    for start in range(0, len(images), block):
        values = images[start : start + block].astype(np.int64)
        total += [values.sum((0, 1, 2)), (values**2).sum((0, 1, 2))]
    mean, square = total / (images.size // images.shape[3])
    return mean, np.sqrt(square - mean**2)
