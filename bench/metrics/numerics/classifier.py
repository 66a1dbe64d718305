"""A small classifier of a labelled dataset: its last hidden layer is a feature space of our own.

It is trained in the graph, so that no weights have to be fetched; distances in it are comparable with each
other and with nothing that is published, and are never called FID.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.data.pixels import to_network
from bench.support.console import Progress, say
from bench.support.errors import BenchError
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
    """Return the class of each image of a pool, (n,) int64; raises BenchError if the dataset has no classes."""
    labels = dataset.labels(pool)
    if labels is None or labels.ndim != 1:
        raise BenchError(f"{dataset.name} has no classes as labels; a classifier needs a labelled dataset.")
    return labels


def make(dataset: Dataset, name: str, device: str, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Train on the train pool and its labels, say the accuracy on the test pool, return the weights."""
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
    found = accuracy(model.eval(), dataset.test, read_labels(dataset, "test"), device)
    say(f"classifier of {dataset.name}: {found:.1%} of the test images are classified correctly")
    return {key: value.cpu().numpy() for key, value in model.state_dict().items()}


@torch.no_grad()
def accuracy(model: Classifier, images: np.ndarray, labels: np.ndarray, device: str) -> float:
    """Return the share of uint8 images (n, H, W, C) whose class is found."""
    blocks = [slice(start, start + 500) for start in range(0, len(images), 500)]
    found = [model(to_network(np.array(images[b])).to(device)).argmax(1).cpu().numpy() for b in blocks]
    return float((np.concatenate(found) == labels).mean())


def load(weights: dict[str, np.ndarray], channels: int, device: str) -> Callable[[np.ndarray], Tensor]:
    """Return the extractor of a classifier: uint8 images (n, H, W, C) to features (n, 128)."""
    known, classes = weights["body.0.weight"].shape[1], len(weights["head.weight"])
    if known != channels:
        raise BenchError(
            f"The classifier was trained on images with {known} channels, these have {channels}; "
            "choose a classifier with the same channels."
        )
    model = Classifier(channels, classes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    model = model.to(device).eval().requires_grad_(False)
    return lambda images: model.features(to_network(images).to(device))
