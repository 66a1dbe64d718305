"""A converted dataset on disk: two pools of uint8 images and a manifest with their content hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.files import read_json


@dataclass(frozen=True)
class Dataset:
    """``train`` and ``test`` (n, H, W, C) uint8, memory-mapped; ``manifest`` as it was written."""

    folder: Path
    manifest: dict
    train: np.ndarray
    test: np.ndarray


def content_hash(images: np.ndarray, block: int = 4096) -> str:
    """Return the hex sha256 of uint8 images in C order, read block by block."""
    hasher = hashlib.sha256()
    for start in range(0, len(images), block):
        hasher.update(np.ascontiguousarray(images[start : start + block]).tobytes())
    return hasher.hexdigest()


def joint_hash(train_hash: str, test_hash: str, shape: list[int]) -> str:
    """Return the hash that names a dataset's content: both pools and their shape."""
    return hashlib.sha256(f"{train_hash} {test_hash} {shape}".encode()).hexdigest()


def open_dataset(folder: str | Path, verify: bool = True) -> Dataset:
    """Open a converted dataset, its content hash checked unless ``verify`` is false.

    Raises BenchError that names the file where one is missing, truncated, or not what the manifest says.
    """
    folder = Path(folder)
    cure = f"delete {folder} and run `bench data build {folder.name}` again"
    if not (folder / "manifest.json").exists():
        raise BenchError(f"There is no dataset in {folder}; run `bench data build {folder.name}`.")
    manifest = read_json(folder / "manifest.json")
    pools = {}
    for pool in ("train", "test"):
        path = folder / f"{pool}.npy"
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BenchError(f"{path} is missing or truncated ({error}); {cure}.") from error
        expected = (manifest[pool], manifest["resolution"], manifest["resolution"], manifest["channels"])
        if images.shape != expected or images.dtype != np.uint8:
            raise BenchError(f"{path} holds {images.dtype} {images.shape}, the manifest says {expected}; {cure}.")
        if verify and content_hash(images) != manifest[f"{pool}_sha256"]:
            raise BenchError(f"{path} is corrupted (its content hash is not the manifest's); {cure}.")
        pools[pool] = images
    return Dataset(folder, manifest, pools["train"], pools["test"])
