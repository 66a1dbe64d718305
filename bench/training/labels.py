"""The label that each training image is given: its own, or one drawn at random as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from bench.data.dataset import Dataset
from bench.support.errors import BenchError
from bench.support.randomness import numpy_generator

if TYPE_CHECKING:
    from bench.suite.options import RunSpec


def check_labels(spec: RunSpec, model: nn.Module) -> None:
    """Raise BenchError if the network takes no labels but the training has some, or the other way round."""
    kind, classes, name = spec.training.labels, getattr(model, "num_classes", 0), spec.model.name
    if kind != "none" and not classes:
        raise BenchError(f"{spec.name}: {name} takes no labels; set its option num_classes, or labels: none.")
    if kind == "none" and classes > 1 and not getattr(model, "label_dropout", 0):
        raise BenchError(
            f"{spec.name}: {name} needs the class of each image; set training.labels to own or random, "
            "or the model's label_dropout above 0."
        )


def training_labels(
    spec: RunSpec, model: nn.Module, dataset: Dataset, rows: np.ndarray, seed: int
) -> np.ndarray | None:
    """Return the class (N,) int64 of the training images at ``rows`` of the pool, or None for ``labels: none``.

    Random labels are drawn for the whole pool, so that larger subsets keep those of smaller ones.  Raises BenchError
    where the network's ``num_classes`` is not the dataset's.
    """
    check_labels(spec, model)
    if spec.training.labels == "none":
        return None
    classes, name = model.num_classes, spec.model.name
    if spec.training.labels == "random":
        return numpy_generator(seed, "labels").integers(classes, size=len(dataset.train))[rows]
    labels = dataset.labels("train")
    if labels is None or labels.ndim != 1:
        raise BenchError(
            f"{spec.name}: dataset {spec.dataset} has no classes; set training.labels to none or random."
        )
    names = dataset.manifest["labels"]["names"]
    found = len(names) if names else int(labels.max()) + 1
    if found != classes:
        raise BenchError(
            f"{spec.name}: dataset {spec.dataset} has {found} classes but {name} {classes}; set num_classes: {found}."
        )
    return labels[rows]
