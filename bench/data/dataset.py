"""A converted dataset on disk: three pools and a manifest with their content hashes."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.options import POOLS
from bench.data.storage import Rows
from bench.support.errors import BenchError
from bench.support.files import read_json, write_json

SEEN = ".verified.json"  # file -> size, time of change and content hash when its content was last read


@dataclass(frozen=True)
class Dataset:
    """``train``, ``validation`` and ``test`` (n, H, W, C), memory-mapped; ``manifest`` as written.

    Images are uint8.  Vectors of d dimensions are float32 (n, 1, 1, d), in their own units.  A dataset without
    validation images has none of them in that pool.
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
        """Return the labels of a pool, (n,) int64 classes or (n, k) uint8 attributes; None if it has none."""
        file = f"{pool}_labels.npy"
        return _load(self.folder / file) if file in _hashes(self.manifest) else None


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


def open_dataset(folder: str | Path, verify: bool = False) -> Dataset:
    """Open a converted dataset, its content checked against the manifest.

    A file of the size and time of change that it had when it was last read is not read again, unless ``verify``
    is set.  Raises BenchError that names the file if one is missing, truncated, or not what the manifest says.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").exists():
        raise BenchError(f"There is no dataset in {folder}; run `bench data build {folder.name}`.")
    manifest = read_json(folder / "manifest.json")
    try:
        shape = [manifest["resolution"], manifest["resolution"], manifest["channels"]]
        whole = manifest["sha256"] == joint_hash(manifest["train_sha256"], manifest["test_sha256"], shape)
        pools = {}
        for pool in POOLS:
            pools[pool] = _load(folder / f"{pool}.npy")
            found, wanted = pools[pool], (manifest[pool], *shape)
            if found.shape != wanted or found.dtype != manifest["dtype"]:
                raise _broken(
                    folder / f"{pool}.npy", f"holds {found.dtype} {found.shape}, the manifest says {wanted}"
                )
        _verify(folder, _hashes(manifest), verify)
    except (KeyError, TypeError) as error:
        raise _broken(folder / "manifest.json", f"lacks {error}") from error
    if not whole:
        raise _broken(folder / "manifest.json", "was changed (its hashes do not agree)")
    return Dataset(folder, manifest, **pools)


def _hashes(manifest: dict) -> dict[str, str]:
    """Return the content hash of each array of a dataset, by file."""
    labels = manifest["labels"] or {}
    return {f"{pool}.npy": manifest[f"{pool}_sha256"] for pool in POOLS} | {
        f"{pool}_labels.npy": labels[f"{pool}_sha256"] for pool in POOLS if f"{pool}_sha256" in labels
    }


def _verify(folder: Path, hashes: dict[str, str], everything: bool) -> None:
    try:
        known = read_json(folder / SEEN)
    except BenchError:
        known = {}
    seen = {}
    for file, wanted in hashes.items():
        stat = (folder / file).stat() if (folder / file).exists() else None
        seen[file] = [stat and stat.st_size, stat and stat.st_mtime_ns, wanted]
        changed = everything or known.get(file) != seen[file]
        if changed and content_hash(_load(folder / file)) != wanted:
            raise _broken(folder / file, "is corrupted (its content hash is not the manifest's)")
    if seen != known:
        with contextlib.suppress(BenchError):  # a folder that cannot be written is read each time
            write_json(folder / SEEN, seen)


def _broken(path: Path, what: str) -> BenchError:
    folder = path.parent
    return BenchError(f"{path} {what}; delete {folder} and run `bench data build {folder.name}` again.")


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _broken(path, f"is missing or truncated ({error})") from error
