"""Read the reference fixtures: a network's configuration, weights, inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def read(folder: Path, name: str, room: str = "parity") -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:
    """Return (config, weights, arrays) of ``ROOM/NAME.npz``."""
    with np.load(folder / room / f"{name}.npz", allow_pickle=False) as file:
        config = json.loads(file["config"].item())
        arrays = {key: torch.from_numpy(file[key]) for key in file.files if key != "config"}
    weights = {
        key.removeprefix("weights/"): arrays.pop(key) for key in list(arrays) if key.startswith("weights/")
    }
    return config, weights, arrays


def error(ours: Tensor, reference: Tensor) -> float:
    """Return max |a - b| / max |b|."""
    return float((ours - reference).abs().max() / reference.abs().max())
