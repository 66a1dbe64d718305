"""Training on labels: own ones, random ones, and what does not fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from small_training import CODE, run, spec

from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import write_subset
from bench.support.errors import BenchError
from bench.training.train import train

CLASSES = """
import torch
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, num_classes, label_dropout):
        super().__init__()
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.label = torch.nn.Embedding(num_classes, channels)

    def forward(self, x, t, y=None):
        return self.label(y)[:, :, None, None] + 0 * x

@register_model("net")
def net(image_size, channels, num_classes: int = 2, label_dropout: float = 0.0):
    return Net(channels, num_classes, label_dropout)
"""


@pytest.fixture
def classes(place):
    """A dataset of two classes, dark and light, and a network that sees nothing but the class."""
    (place / "net.py").write_text(CLASSES)
    draws = np.random.default_rng(0)
    for folder, low in (("dark", 0), ("light", 156)):
        (place / "images" / folder).mkdir(parents=True)
        for number in range(14):
            pixels = draws.integers(low, low + 100, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "images" / folder / f"{number}.png")
    row = DatasetOptions(
        title="x", resolution=8, channels=1, source=str(place / "images"), test=4, labels="folder"
    )
    build_dataset("data", row, place / "classes")
    write_subset(place / "classes", 0, place / "c0.npz")
    return place


def trained_on_labels(classes, kind, options=None):
    one = spec(classes, steps=400, learning_rate=2e-2, labels=kind, prediction="x0")
    one = dataclasses.replace(one, model=dataclasses.replace(one.model, options=options or {}))
    train(one, classes / "classes", classes / "c0.npz", classes / kind, classes / "state", code=CODE)
    return load_file(classes / kind / "weights.safetensors")["label.weight"].flatten()


def test_own_labels_tell_the_classes_apart_and_random_ones_do_not(classes):
    dark, light = trained_on_labels(classes, "own").tolist()
    assert dark == pytest.approx(50 / 127.5 - 1, abs=0.1)
    assert light == pytest.approx(206 / 127.5 - 1, abs=0.1)
    one, other = trained_on_labels(classes, "random").tolist()
    assert abs(one - other) < 0.6 * (light - dark)


def test_labels_that_do_not_fit_are_one_sentence(classes):
    with pytest.raises(BenchError, match="has 2 classes but net 3; set num_classes: 2"):
        trained_on_labels(classes, "own", {"num_classes": 3})
    with pytest.raises(BenchError, match="needs the class of each image; set training.labels"):
        trained_on_labels(classes, "none")
    with pytest.raises(BenchError, match="takes no labels; set its option num_classes"):
        trained_on_labels(classes, "random", {"num_classes": 0})
    with pytest.raises(
        BenchError, match="dataset data has no classes; set training.labels to none or random"
    ):
        one = spec(classes, labels="own")
        run(classes, dataclasses.replace(one, model=dataclasses.replace(one.model, options={})))
