"""Feature spaces whose networks a person places, found by a variable and held to a sha256.

They are TorchScript files; DINOv2 may also be its weights, `bench.metrics.numerics.dinov2`.

``dinov2``  BENCH_DINOV2, (n, 3, 224, 224) to its class token (Oquab et al. 2023)
``sscd``    BENCH_SSCD, (n, 3, 288, 288) to a descriptor for copies (Pizzi et al. 2022)
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.metrics.numerics.dinov2 import ENDINGS, dinov2
from bench.metrics.numerics.features import Extractor, Space
from bench.support.errors import BenchError
from bench.support.files import sha256

SIDES = {"dinov2": 224, "sscd": 288}
# of ImageNet, which both networks expect
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weights_file(name: str, wanted: str) -> Path:
    """Return the file of a space, its hash checked; never downloads.

    Raises BenchError that says which variable names the file, where it is missing or has another hash than ``wanted``.
    """
    variable = f"BENCH_{name.upper()}"
    path = Path(os.environ.get(variable, ""))
    if not path.is_file():
        raise BenchError(
            f"The features {name} need the file of their network: set {variable} to its path, or choose other "
            "features (docs/measurements.md says how to make the file)."
        )
    if (found := sha256(path)) != wanted:
        raise BenchError(
            f"{path} is another file than the suite asks for: its sha256 is {found}, not {wanted}; place that one, or "
            "change fidelity.sha256."
        )
    return path


def open_placed(name: str, wanted: str, device: str) -> Space:
    """Return a placed space for uint8 images; grey is repeated.  Raises BenchError for a missing or wrong file."""
    path = weights_file(name, wanted)
    weights = name == "dinov2" and path.suffix in ENDINGS
    network = dinov2(path, SIDES[name]).to(device) if weights else _script(path, device)
    return Space(f"{name}-{wanted[:8]}", _extractor(network, SIDES[name], device, path))


def _script(path: Path, device: str) -> nn.Module:
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BenchError(
            f"{path} is no TorchScript file ({first}); save the network with torch.jit.save."
        ) from error


def _extractor(network: nn.Module, side: int, device: str, path: Path) -> Extractor:
    mean, deviation = (torch.tensor(x, device=device).view(1, 3, 1, 1) for x in (MEAN, DEVIATION))

    def extract(images: np.ndarray) -> Tensor:
        images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
        large = np.stack([Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC) for i in images])
        x = torch.from_numpy(large).to(device).permute(0, 3, 1, 2).float() / 255
        found = network((x - mean) / deviation)
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise BenchError(f"{path} must return one vector for each image, (n, d).")
        return found

    return extract
