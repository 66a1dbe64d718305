"""Shared fixtures of the training tests."""

from __future__ import annotations

import pytest
import torch
from small_training import NETWORK

from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import write_subset


@pytest.fixture
def place(tmp_path):
    """A dataset, its subset and a user's network file."""
    torch.set_num_threads(1)
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=20, test=8)
    build_dataset("data", row, tmp_path / "data")
    write_subset(tmp_path / "data", 0, tmp_path / "s0.npz")
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path
