"""Named feature spaces for distances between sets of images. Only ``inception`` gives a FID.

``random-conv``  fixed random convolutions (64), the demo's space
``pixels``       the image itself, in [0, 1]
``inception``    clean-fid's Inception pool3 features (2048), with its own resize
``classifier-X`` the last hidden layer (128) of the small classifier trained on the labels of dataset X
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.pixels import to_network
from bench.metrics.numerics.parts import in_parts
from bench.support.errors import BenchError
from bench.support.files import sha256
from bench.support.randomness import generator

INCEPTION = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
INCEPTION_HOME = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/" + INCEPTION
BATCH = 100

Extractor = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class Space:
    """A feature space: ``extract`` maps uint8 images (n, H, W, C) to (n, d); ``name`` is that of protocols."""

    name: str
    extract: Extractor


def random_conv(channels: int, device: str) -> Extractor:
    """Return fixed random convolutions to (n, 64), the same on every machine type."""
    draws = generator(0, "random-conv")
    widths = [channels, 32, 64, 64]
    kernels = [
        (torch.randn(o, i, 3, 3, generator=draws) * (2 / (9 * i)) ** 0.5).to(device)
        for i, o in zip(widths, widths[1:])
    ]

    def extract(images: np.ndarray) -> Tensor:
        x = to_network(images).to(device)
        for depth, kernel in enumerate(kernels):
            x = F.relu(F.conv2d(x, kernel, padding=1))
            x = F.avg_pool2d(x, 2) if depth < 2 else x
        return x.mean((2, 3))

    return extract


def pixels(images: np.ndarray) -> Tensor:
    """Return uint8 images (n, H, W, C) as (n, H W C) in [0, 1]."""
    return torch.tensor(images).flatten(1).double() / 255


def inception_weights() -> Path:
    """Return the weights file, its hash checked: ``BENCH_INCEPTION``, else where clean-fid keeps it.

    Never downloads.  Raises BenchError that says which file is missing, its hash and where to get it.
    """
    folder = Path("." if platform.system() == "Windows" else "/tmp")  # clean-fid's fixed place
    path = Path(os.environ.get("BENCH_INCEPTION") or folder)
    path = path / INCEPTION if path.is_dir() else path
    if not path.is_file() or path.name != INCEPTION:
        raise BenchError(
            f"The Inception weights are missing: put {INCEPTION} (sha256 {INCEPTION_SHA256[:16]}..., from "
            f"{INCEPTION_HOME}) at {path.parent / INCEPTION} or set BENCH_INCEPTION to its path, or choose other features."
        )
    if sha256(path) != INCEPTION_SHA256:
        raise BenchError(
            f"{path} is not {INCEPTION}: its sha256 must begin {INCEPTION_SHA256[:16]}; fetch it again from "
            f"{INCEPTION_HOME}."
        )
    return path


def inception_state() -> tuple[bool, str]:
    """Return whether the Inception weights are here, and one sentence that says where, or what to do."""
    try:
        return True, f"The Inception weights are here: {inception_weights()}."
    except BenchError as error:
        return False, str(error)


def inception(device: str) -> Extractor:
    """Return clean-fid's Inception features (2048) with its own resize ("clean" mode); grey is repeated."""
    from bench.support.torchvision_import import ensure_torchvision

    path = inception_weights()
    ensure_torchvision()
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    network = InceptionV3W(str(path.parent), download=False, resize_inside=False).to(device).eval()
    resize = build_resizer("clean")

    def extract(images: np.ndarray) -> Tensor:
        images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
        large = np.stack([resize(image) for image in images]).transpose(0, 3, 1, 2)
        return network(torch.from_numpy(large).float().to(device))

    return extract


def open_space(
    name: str, channels: int, device: str, classifier: dict[str, np.ndarray] | None = None
) -> Space:
    """Return a feature space for images with this many channels; ``classifier`` are the arrays of the one it names.

    Raises BenchError for an unknown name, missing or wrong weights, and a classifier of other channels.
    """
    if name == "random-conv":
        return Space("random-conv-64", random_conv(channels, device))
    if name == "pixels":
        return Space("pixels", pixels)
    if name == "inception":
        return Space("inception-pool3-2048", inception(device))
    if name.startswith("classifier-") and classifier is not None:
        from bench.metrics.numerics.classifier import load

        return Space(name, load(classifier, channels, device))
    raise BenchError(
        f"There is no feature space {name!r}; known: random-conv, pixels, inception, classifier-DATASET."
    )


@torch.no_grad()
def features(images: np.ndarray, space: Space) -> np.ndarray:
    """Return float64 features (n, d) of uint8 images (n, H, W, C)."""
    found: list[np.ndarray] = []

    def work(first: int, count: int) -> None:
        found.append(space.extract(np.array(images[first : first + count])).double().cpu().numpy())

    in_parts(len(images), BATCH, work)
    return np.concatenate(found)
