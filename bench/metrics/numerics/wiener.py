"""The best linear denoiser of a dataset's whole train pool."""

from __future__ import annotations

import numpy as np
import torch

from bench.data.dataset import Dataset
from bench.diffusion.schedule import Schedule, make_schedule
from bench.models.controls import Wiener


def make(dataset: Dataset, name: str, device: str) -> dict[str, np.ndarray]:
    """Return ``mean`` (1, d), ``values`` (r,) and ``basis`` (r, d) of the train pool's covariance, float32."""
    side, channels = dataset.manifest["resolution"], dataset.manifest["channels"]
    control = Wiener(side, channels).to(device)
    control.fit(np.ascontiguousarray(dataset.train[:]), make_schedule("linear"))
    return {key: getattr(control, key).cpu().numpy() for key in ("mean", "values", "basis")}


def load(arrays: dict[str, np.ndarray], side: int, channels: int, schedule: Schedule, device: str) -> Wiener:
    """Return the denoiser of a schedule from stored arrays."""
    control = Wiener(side, channels)
    for key, value in arrays.items():
        setattr(control, key, torch.from_numpy(value))
    control.fit_schedule(schedule)
    return control.to(device)
