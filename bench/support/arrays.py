"""Named arrays in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.support.files import atomic


def save_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Write a compressed ``.npz`` atomically; the same arrays give the same bytes."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
