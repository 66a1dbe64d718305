"""Official file layouts: CelebA and CIFAR-10 through torchvision, ImageNet's downsampled batches, label files."""

from __future__ import annotations

import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.data.sources import DAMAGED, Source, from_array, open_source
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
    """Raise BenchError for the first file that is missing or has another MD5: torchvision does not name it."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in files:
        if not check_integrity(folder / name, md5):
            raise BenchError(
                f"{folder / name} is missing or not the official file (md5 {md5}); fetch it again."
            )


def _celeba(path: Path, test: bool) -> Source:
    datasets = _torchvision()

    class CelebA(datasets.CelebA):  # type: ignore[name-defined]
        base_folder = path.name

    _check_files(path, [(name, md5) for _, md5, name in CelebA.file_list if not name.endswith(".zip")])
    if not (path / "img_align_celeba").is_dir():
        raise BenchError(f"{path / 'img_align_celeba'} does not exist; unpack img_align_celeba.zip there.")
    split = CelebA(str(path.parent), split="valid" if test else "train")
    order = np.argsort(split.filename)
    names = [split.filename[row] for row in order]
    labels = split.attr.numpy().astype(np.uint8)[order]
    images = open_source(path / "img_align_celeba")
    classes = [name for name in split.attr_names if name]
    return Source(images.path, names, names, images.read, threads=True, labels=labels, classes=classes)


def _cifar10(path: Path, test: bool) -> Source:
    kind = _torchvision().CIFAR10
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    _check_files(path / kind.base_folder, [(name, md5) for name, md5 in files])
    split = kind(str(path), train=not test)
    source = from_array(path, split.data)
    return Source(
        path, source.names, source.keys, source.read,
        labels=np.array(split.targets, np.int64), classes=list(split.classes),
    )  # fmt: skip


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


def _load_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, side, side, 3) uint8 and labels (n,), from 0, of one file of batches."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("data", "labels")}
    else:
        with path.open("rb") as file:
            found = _Arrays(file, encoding="latin1").load()
    data, labels = np.asarray(found["data"]), np.asarray(found["labels"], np.int64) - 1  # from 1 in the files
    side = round((data.shape[-1] / 3) ** 0.5)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * side**2:
        raise BenchError(f"{path}: data is {data.dtype} {data.shape}, not uint8 (images, 3 * side * side).")
    if labels.shape != data.shape[:1]:
        raise BenchError(f"{path} has {len(labels)} labels for {len(data)} images.")
    return data.reshape(-1, 3, side, side).transpose(0, 2, 3, 1), labels


def _batches(path: Path, test: bool) -> Source:
    """List a folder of batch files; a key is (file, row), and one file at a time is in memory."""
    stem = "val_data" if test else r"train_data_batch_(\d+)"
    found = [
        (int(match[1]) if match.groups() else 1, file)
        for file in sorted(path.rglob("*"))
        if (match := re.fullmatch(stem + r"(?:\.npz)?", file.name))
    ]
    if not found:
        wanted = "val_data" if test else "train_data_batch_1"
        raise BenchError(f"{path} holds no {wanted} or {wanted}.npz; unpack the archive of batches there.")
    files = [file for _, file in sorted(found)]
    if sorted(number for number, _ in found) != list(range(1, len(files) + 1)):
        names = ", ".join(file.name for file in files)
        raise BenchError(f"{path} must hold each batch once, from 1 on, not {names}.")
    labels = [_load_batch(file)[1] for file in files]
    keys = [(number, row) for number, part in enumerate(labels) for row in range(len(part))]
    here: dict[int, np.ndarray] = {}

    def read(key: tuple[int, int]) -> np.ndarray:
        if key[0] not in here:
            here.clear()
            here[key[0]] = _load_batch(files[key[0]])[0]
        return here[key[0]][key[1]]

    names = [f"{files[number].name} image {row}" for number, row in keys]  # type: ignore[assignment]
    return Source(path, names, keys, read, ordered=True, labels=np.concatenate(labels))  # type: ignore[arg-type]


def labels_from_folders(source: Source, classes: list[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Return the class of each image, the first folder in its name, (n,), and the names of the classes.

    With ``classes`` given no other may occur.  Raises BenchError for an image in no folder.
    """
    folders = []
    for position, name in enumerate(source.names):
        first, *rest = PurePosixPath(name).parts
        if not rest:
            raise BenchError(
                f"{source.shown(position)} lies in no folder that could be its label; put each image into the "
                "folder of its class, or set labels: null."
            )
        folders.append(first)
    known = sorted(set(folders)) if classes is None else classes
    number = {folder: i for i, folder in enumerate(known)}
    if strange := sorted(set(folders) - set(known)):
        raise BenchError(f"{source.path} has the class {strange[0]!r}, which the training images lack.")
    return np.array([number[folder] for folder in folders], np.int64), known


def labels_from_file(path: Path, source: Source) -> np.ndarray:
    """Read one integer for each image of a source, (n,) int64, from an ``.npy`` or ``.npz`` file.

    Raises BenchError if the file holds something else.
    """
    try:
        found = np.load(path, allow_pickle=False)
        arrays = [found] if isinstance(found, np.ndarray) else [found[name] for name in found]
    except (*DAMAGED, KeyError) as error:
        raise BenchError(f"The labels {path} cannot be read ({error}); give an .npy or .npz file.") from error
    fitting = [a for a in arrays if a.shape == (len(source.names),) and a.dtype.kind in "iu" and a.min() >= 0]
    if len(fitting) != 1:
        holds = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise BenchError(
            f"{path} holds {holds or 'nothing'}; labels must be one array of {len(source.names)} integers from "
            f"0, one for each image of {source.path}."
        )
    return fitting[0].astype(np.int64)
