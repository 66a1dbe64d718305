"""Subsets: the N training images are a prefix of a shuffle's order, so they are nested in N.

Half b is the N images behind them: disjoint from half a, for two networks that are compared with each other.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data.dataset import Dataset, open_dataset
from bench.support.arrays import save_arrays
from bench.support.errors import BenchError
from bench.support.fingerprint import fingerprint
from bench.support.randomness import numpy_generator


class Subset(NamedTuple):
    """Rows of the pools as a shuffle takes them: the N training images, and all of the others."""

    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray


def write_subset(dataset_folder: Path, shuffle: int, out: Path, balanced: bool = False) -> None:
    """Write the order in which a shuffle takes the images of each pool: keys are the pools, and ``sha256``.

    The orders depend on the shuffle and on the sizes of the pools alone; ``balanced`` (or the dataset's
    own option of that name) takes the training images of all classes in turn.
    """
    dataset = open_dataset(dataset_folder)
    train = numpy_generator(shuffle, "subset").permutation(len(dataset.train))
    if balanced or dataset.manifest["made"].get("balanced"):
        train = _in_turn(train, _classes(dataset), numpy_generator(shuffle, "classes"))
    orders = {
        pool: numpy_generator(shuffle, pool).permutation(len(getattr(dataset, pool)))
        for pool in ("test", "validation")
    }
    made = {"sha256": np.array(dataset.manifest["sha256"]), "code": np.array(fingerprint(__name__))}
    save_arrays(out, train=train, **orders, **made)


def _classes(dataset: Dataset) -> np.ndarray:
    labels = dataset.labels("train")
    if labels is None or labels.ndim != 1:
        raise BenchError(f"{dataset.folder.name} has no classes to balance; leave out balanced.")
    return labels


def _in_turn(order: np.ndarray, labels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return as much of an order (n,) as holds every class equally often: one image of each, again and again.

    In each round the classes come in another order, so that no class is favoured between two rounds.
    """
    classes, counts = np.unique(labels, return_counts=True)
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts, rounds = np.cumsum(counts) - counts, np.arange(counts.min())[:, None]
    turns = draws.permuted(np.tile(np.arange(len(classes)), (len(rounds), 1)), axis=1)
    return by_class[starts[turns] + rounds].reshape(-1)


def read_subset(path: Path, dataset: Dataset, train_size: int, half: str = "a") -> Subset:
    """Return the rows of the N training images and of all validation and test images, in the shuffle's order.

    Half ``a`` takes the first N of the order, half ``b`` the next N; the other images are the same.
    Raises BenchError if the file belongs to other data or the pool holds too few images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            train, test, validation = file["train"], file["test"], file["validation"]
            hash_ = str(file["sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(
            f"{path} is missing or damaged ({error}); make it again with `bench data subset {dataset.folder.name} "
            f"--shuffle {path.stem[1:]} --out {path}`."
        ) from error
    if hash_ != dataset.manifest["sha256"] or len(validation) != len(dataset.validation):
        raise BenchError(
            f"{path} belongs to another version of {dataset.folder.name}; make it again with `bench data subset "
            f"{dataset.folder.name} --shuffle {path.stem[1:]} --out {path}`."
        )
    if train_size > len(train):
        raise BenchError(
            f"{dataset.folder.name} has {len(train)} training images, fewer than N = {train_size}; "
            "lower train_sizes."
        )
    if half == "b" and 2 * train_size > len(train):
        raise BenchError(
            f"{dataset.folder.name} has {len(train)} training images, too few for two disjoint halves of "
            f"N = {train_size}; lower train_sizes of the block with half: b."
        )
    first = train_size if half == "b" else 0
    return Subset(train[first : first + train_size], test, validation)
