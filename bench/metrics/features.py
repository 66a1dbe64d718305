"""Named feature spaces for the Fréchet distance. Only ``inception`` gives a FID."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.errors import BenchError
from bench.files import sha256
from bench.randomness import generator

INCEPTION = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
NAMES = {"random-conv": "random-conv-64", "inception": "inception-pool3-2048"}
BATCH = 100

Extractor = Callable[[Tensor], Tensor]


def random_conv(channels: int) -> Extractor:
    """Return fixed random convolutions: images (B, C, H, W) in [-1, 1] to (B, 64), the same on every machine type."""
    draws = generator(0, "random-conv")
    widths = [channels, 32, 64, 64]
    kernels = [
        torch.randn(o, i, 3, 3, generator=draws) * (2 / (9 * i)) ** 0.5 for i, o in zip(widths, widths[1:])
    ]

    def extract(x: Tensor) -> Tensor:
        for depth, kernel in enumerate(kernels):
            x = F.relu(F.conv2d(x, kernel.to(x), padding=1))
            x = F.avg_pool2d(x, 2) if depth < 2 else x
        return x.mean((2, 3))

    return extract


def inception_weights() -> Path:
    """Return the weights file, checked: ``BENCH_INCEPTION``, else where clean-fid keeps it. Never downloads."""
    path = Path(os.environ.get("BENCH_INCEPTION") or Path("/tmp") / INCEPTION)  # clean-fid's fixed place
    if not path.is_file():
        raise BenchError(
            f"The Inception weights are missing: put {INCEPTION} (sha256 {INCEPTION_SHA256[:16]}...) at {path} "
            "or set BENCH_INCEPTION to its path, or choose features: random-conv."
        )
    if sha256(path) != INCEPTION_SHA256:
        raise BenchError(
            f"{path} is not {INCEPTION}: its sha256 must begin {INCEPTION_SHA256[:16]}; fetch it again."
        )
    return path


def inception(device: str) -> Extractor:
    """Return clean-fid's Inception features (2048) with its own resize ("clean" mode)."""
    from bench.metrics.torchvision_cure import ensure_torchvision

    path = inception_weights()
    ensure_torchvision()
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import make_resizer

    network = InceptionV3W(str(path.parent), download=False, resize_inside=False).to(device).eval()
    resize = make_resizer("PIL", quantize_after=False, filter="bicubic", output_size=(299, 299))

    def extract(x: Tensor) -> Tensor:
        pixels = ((x + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy()
        pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
        large = np.stack([resize(image) for image in pixels]).transpose(0, 3, 1, 2)
        return network(torch.from_numpy(large).float().to(device))

    return extract


@torch.no_grad()
def features(images: np.ndarray, space: str, device: str) -> np.ndarray:
    """Return float64 features (n, d) of uint8 images (n, H, W, C) in a named space."""
    from bench.data.pixels import to_network

    extract = inception(device) if space == "inception" else random_conv(images.shape[3])
    found = []
    for start in range(0, len(images), BATCH):
        block = torch.from_numpy(np.array(images[start : start + BATCH]))
        found.append(extract(to_network(block).to(device)).double().cpu().numpy())
    return np.concatenate(found)
