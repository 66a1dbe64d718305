"""A converted dataset on disk: three pools of uint8 images and a manifest with their content hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.options import POOLS
from bench.data.storage import Rows
from bench.support.errors import BenchError
from bench.support.files import read_json


@dataclass(frozen=True)
class Dataset:
    """``train``, ``validation`` and ``test`` (n, H, W, C) uint8, memory-mapped; ``manifest`` as written.

    A dataset without validation images has none of them in that pool.
    """

    folder: Path
    manifest: dict
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.manifest["name"]

    def labels(self, pool: str) -> np.ndarray | None:
        """Return the labels of a pool, (n,) int64 classes or (n, k) uint8 attributes; None where it has none.

        Raises BenchError where the file is missing or not what the manifest says.
        """
        known = self.manifest.get("labels")
        if known is None or f"{pool}_sha256" not in known:
            return None
        path, cure = self.folder / f"{pool}_labels.npy", _cure(self.folder)
        try:
            labels = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BenchError(f"{path} is missing or truncated ({error}); {cure}.") from error
        if content_hash(labels) != known[f"{pool}_sha256"]:
            raise BenchError(f"{path} is corrupted (its content hash is not the manifest's); {cure}.")
        return labels


def content_hash(images: np.ndarray | Rows, block: int = 4096) -> str:
    """Return the hex sha256 of an array (say, images) in C order, read block by block."""
    hasher = hashlib.sha256()
    for start in range(0, len(images), block):
        hasher.update(np.ascontiguousarray(images[start : start + block]).data)
    return hasher.hexdigest()


def joint_hash(train_hash: str, test_hash: str, shape: list[int]) -> str:
    """Return the hash that names a dataset's content: what networks are trained and reported on.

    The validation images have a hash of their own, so that runs stay valid where only those change.
    """
    return hashlib.sha256(f"{train_hash} {test_hash} {shape}".encode()).hexdigest()


def open_dataset(folder: str | Path, verify: bool = True) -> Dataset:
    """Open a converted dataset; ``verify=False`` checks sizes and shapes, not the content hashes.

    Raises BenchError that names the file where one is missing, truncated, or not what the manifest says.
    """
    folder = Path(folder)
    cure = _cure(folder)
    if not (folder / "manifest.json").exists():
        raise BenchError(f"There is no dataset in {folder}; run `bench data build {folder.name}`.")
    manifest = read_json(folder / "manifest.json")
    try:
        shape = [manifest["resolution"], manifest["resolution"], manifest["channels"]]
        hashes = {pool: manifest[f"{pool}_sha256"] for pool in POOLS}
        whole = manifest["sha256"] == joint_hash(hashes["train"], hashes["test"], shape)
        pools = {pool: _pool(folder / f"{pool}.npy", (manifest[pool], *shape), cure) for pool in POOLS}
    except (KeyError, TypeError) as error:
        raise BenchError(f"{folder / 'manifest.json'} lacks {error}; {cure}.") from error
    if not whole:
        raise BenchError(f"{folder / 'manifest.json'} was changed (its hashes do not agree); {cure}.")
    for pool, images in pools.items():
        if verify and content_hash(images) != hashes[pool]:
            raise BenchError(
                f"{folder / pool}.npy is corrupted (its content hash is not the manifest's); {cure}."
            )
    return Dataset(folder, manifest, **pools)


def _cure(folder: Path) -> str:
    return f"delete {folder} and run `bench data build {folder.name}` again"


def _pool(path: Path, shape: tuple[int, ...], cure: str) -> np.ndarray:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(f"{path} is missing or truncated ({error}); {cure}.") from error
    if images.shape != shape or images.dtype != np.uint8:
        raise BenchError(f"{path} holds {images.dtype} {images.shape}, the manifest says {shape}; {cure}.")
    return images
