"""A small classifier of a labelled dataset: its last hidden layer is a feature space of our own.

It is trained in the graph, so that no weights have to be fetched; distances in it are comparable with each
other and with nothing that is published, and are never called FID.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.data.pixels import to_network
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import atomic
from bench.support.randomness import seed_all

STEPS, BATCH, RATE = 2000, 64, 1e-3
WIDTHS = (32, 64, 128)


class Classifier(nn.Module):
    """Three levels of convolutions, a mean over positions, and a linear map to the classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in zip((channels, *WIDTHS), WIDTHS):
            for inner, outer, stride in ((i, o, 1), (o, o, 2)):
                layers += [
                    nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
                    nn.GroupNorm(8, outer),
                    nn.SiLU(),
                ]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(WIDTHS[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        """Return (B, 128) features of images (B, C, H, W) in [-1, 1]."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores (B, classes)."""
        return self.head(self.features(x))


def read_labels(dataset: Dataset, pool: str) -> np.ndarray:
    """Return the class of each image of a pool, (n,) int64; raises BenchError where the dataset has no labels."""
    file = dataset.folder / f"{pool}_labels.npy"
    if not file.is_file():
        raise BenchError(
            f"{dataset.folder.name} has no labels ({file} is missing); a classifier needs a labelled dataset."
        )
    labels = np.load(file, allow_pickle=False)
    count = len(getattr(dataset, pool))
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise BenchError(f"{file} must hold {count} class numbers, not {labels.dtype} {labels.shape}.")
    return labels.astype(np.int64)


def train_classifier(dataset: Dataset, out: Path, device: str, steps: int = STEPS) -> float:
    """Train on the train pool and its labels, write the weights, return the accuracy on the test pool."""
    labels = torch.from_numpy(read_labels(dataset, "train")).to(device)
    images = torch.from_numpy(np.array(dataset.train)).to(device)
    classes = int(labels.max()) + 1
    seed_all(0, "classifier")
    model = Classifier(images.shape[3], classes).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with Progress(steps, f"classifier {dataset.name}", "step") as progress:
        for step in range(steps):
            seed_all(0, "classifier/step", step)
            chosen = torch.randint(len(images), (BATCH,), device=device)
            loss = F.cross_entropy(model(to_network(images[chosen])), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            decay.step()
            progress.advance()
    value = accuracy(model.eval(), dataset.test, read_labels(dataset, "test"), device)
    about = {
        "dataset": dataset.name,
        "sha256": dataset.manifest["sha256"],
        "classes": classes,
        "channels": images.shape[3],
        "steps": steps,
        "test_accuracy": round(value, 4),
    }
    with atomic(out) as path:  # one entry of metadata: safetensors writes several in an order of its own
        path.write_bytes(to_safetensors(model.state_dict(), {"about": json.dumps(about)}))
    return value


@torch.no_grad()
def accuracy(model: Classifier, images: np.ndarray, labels: np.ndarray, device: str) -> float:
    """Return the share of uint8 images (n, H, W, C) whose class is found."""
    blocks = [slice(start, start + 500) for start in range(0, len(images), 500)]
    found = [model(to_network(np.array(images[b])).to(device)).argmax(1).cpu().numpy() for b in blocks]
    return float((np.concatenate(found) == labels).mean())


def load(file: Path, channels: int, device: str):
    """Return the extractor of a classifier's file: uint8 images (n, H, W, C) to features (n, 128)."""
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads(opened.metadata()["about"])
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a mapping)
        model = Classifier(about["channels"], about["classes"])
        model.load_state_dict(state)
    except Exception as error:
        raise BenchError(f"{file} is no classifier of this version ({error}); delete it.") from error
    if about["channels"] != channels:
        raise BenchError(
            f"{file} was trained on images with {about['channels']} channels, these have {channels}; "
            "choose a classifier of the same channels."
        )
    model = model.to(device).eval().requires_grad_(False)
    return lambda images: model.features(to_network(images).to(device))
