"""Official file layouts: CelebA and CIFAR-10 as torchvision reads them, ImageNet's downsampled batches."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.sources import DAMAGED, FolderReader, Reader, Source, open_source, read_header
from bench.support.errors import BenchError


def open_layout(path: Path, layout: str, test: bool) -> Source:
    """Open a source of a row: ``images`` of any kind, or the train or the test split of an official layout.

    The test split is CelebA's and ImageNet's validation and CIFAR-10's test.  Raises BenchError that names
    the file which is missing or not as distributed.
    """
    if layout == "images":
        return open_source(path)
    try:
        return {"celeba": _celeba, "cifar10": _cifar10, "imagenet-batches": _batches}[layout](path, test)
    except (*DAMAGED, RuntimeError, pickle.UnpicklingError, KeyError, IndexError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(f"{path} is not laid out as {layout} ({text}); fetch it again.") from error


def _torchvision() -> Any:
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    import torchvision.datasets

    return torchvision.datasets


def _check_files(folder: Path, files: list[tuple[str, str]]) -> None:
    """Raise BenchError for the first file that is not there or has another MD5 than torchvision knows."""
    from torchvision.datasets.utils import check_md5

    for name, md5 in files:
        path = folder / name
        if not path.is_file():
            raise BenchError(f"{path} does not exist; put it there (md5 {md5}).")
        if not check_md5(path, md5):
            raise BenchError(f"{path} is not the official file (its md5 is not {md5}); fetch it again.")


def _celeba(path: Path, test: bool) -> Source:
    datasets = _torchvision()

    class CelebA(datasets.CelebA):
        base_folder = path.name

    _check_files(path, [(name, md5) for _, md5, name in CelebA.file_list if not name.endswith(".zip")])
    images = path / "img_align_celeba"
    if not images.is_dir():
        raise BenchError(f"{images} does not exist; unpack img_align_celeba.zip there.")
    split = CelebA(str(path.parent), split="valid" if test else "train")
    order = np.argsort(split.filename)
    names = [split.filename[row] for row in order]
    labels = split.attr.numpy().astype(np.uint8)[order]
    return Source(images, names, names, FolderReader(images), [], labels, [n for n in split.attr_names if n])


class ArrayReader(Reader):
    """Images of an array in memory; a key is the index."""

    decoded = True

    def __init__(self, images: np.ndarray) -> None:
        self.array = images

    def read(self, key: int) -> np.ndarray:
        """Return the image, (height, width, channels) uint8."""
        return self.array[key]


def _cifar10(path: Path, test: bool) -> Source:
    kind = _torchvision().CIFAR10
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    _check_files(path / kind.base_folder, [(name, md5) for name, md5 in files])
    split = kind(str(path), train=not test)
    count = len(split.data)
    return Source(
        path,
        [f"image {i}" for i in range(count)],
        range(count),
        ArrayReader(split.data),
        labels=np.array(split.targets, np.int64),
        classes=list(split.classes),
    )


class BatchReader(Reader):
    """Images of batch files, each a dictionary of ``data`` (n, 3 * side^2) and ``labels``, one at a time.

    A key is the index over all files.
    """

    sequential = decoded = True

    def __init__(self, files: list[Path], counts: list[int]) -> None:
        self.files, self.ends = files, np.cumsum(counts)

    def read(self, key: int) -> np.ndarray:
        """Return the image, (side, side, 3) uint8."""
        file = int(np.searchsorted(self.ends, key, side="right"))
        if getattr(self, "next", None) != file:
            self.images = None  # before the next one is read, so that memory holds one
            self.images, self.next = _load_batch(self.files[file])["data"], file
        flat = self.images[key - self.ends[file]]  # from the end
        side = round((flat.size / 3) ** 0.5)
        return flat.reshape(3, side, side).transpose(1, 2, 0)


# what NumPy's own pickles call, under the names of its version 1 and 2
NUMPY_PARTS = {part.__name__: part for part in (np.empty(0).__reduce__()[0], np.int64().__reduce__()[0])}


class _Arrays(pickle.Unpickler):
    """Reads what the batches are made of (dictionaries, lists, NumPy arrays) and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.endswith("core.multiarray") and name in NUMPY_PARTS:
            return NUMPY_PARTS[name]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return str.encode
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")


def _load_batch(path: Path, members: tuple[str, ...] = ("data",)) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in members}
    with path.open("rb") as file:
        found = _Arrays(file, encoding="latin1").load()
    return {name: np.asarray(found[name]) for name in members}


def _shape(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, archive.open("data.npy") as file:
            shape, _, dtype = read_header(file)
        return shape, dtype
    data = _load_batch(path)["data"]
    return data.shape, data.dtype


def _batches(path: Path, test: bool) -> Source:
    stem = "val_data" if test else r"train_data_batch_(\d+)"
    found = {
        file: int(match[1]) if match.groups() else 1
        for file in sorted(path.rglob("*"))
        if (match := re.fullmatch(stem + r"(?:\.npz)?", file.name))
    }
    files = sorted(found, key=found.__getitem__)
    if not files:
        wanted = "val_data" if test else "train_data_batch_1"
        raise BenchError(f"{path} holds no {wanted} or {wanted}.npz; unpack the archive of batches there.")
    if [found[file] for file in files] != list(range(1, len(files) + 1)):
        names = ", ".join(file.name for file in files)
        raise BenchError(f"{path} must hold each batch once, from 1 on, not {names}.")
    names, labels = [], []
    for file in files:
        shape, dtype = _shape(file)
        if dtype != np.uint8 or len(shape) != 2 or shape[1] % 3 or (shape[1] // 3) ** 0.5 % 1:
            raise BenchError(f"{file}: data is {dtype} {shape}, not uint8 (images, 3 * side * side).")
        labels.append(
            np.asarray(_load_batch(file, ("labels",))["labels"], np.int64) - 1
        )  # from 1 in the files
        if labels[-1].shape != shape[:1]:
            raise BenchError(f"{file} has {len(labels[-1])} labels for {shape[0]} images.")
        names += [f"{file.name} image {row}" for row in range(shape[0])]
    reader = BatchReader(files, [len(part) for part in labels])
    return Source(path, names, range(len(names)), reader, labels=np.concatenate(labels))
