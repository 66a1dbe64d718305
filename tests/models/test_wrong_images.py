"""``bench check`` finds a network that cannot take a dataset's images before anything is trained."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.cli import main

ROOT = Path(__file__).resolve().parents[2]
FILE = """
from torch import nn
from bench.models.registry import register_model

class Net(nn.Module):
    def __init__(self, into, out):
        super().__init__()
        self.layer = nn.Conv2d(into, out, 3, padding=1)

    def forward(self, x, t, y=None):
        return self.layer(x)

@register_model("mine")
def mine(image_size: int, channels: int, into: int = 1, out: int = 1):
    return Net(into, out)
"""
SUITE = """
title: One network of a file
training: {steps: 4}
measure: {psnr: {images: 4, steps: 3}}
runs:
  - {datasets: [disks-8], models: [mine], train_sizes: [10]}
"""


@pytest.mark.parametrize(
    "options, words",
    [
        (
            "into: 3, out: 3",
            r"mine.py: the forward pass of mine fails for 8x8x1 images \(.*choose another dataset",
        ),
        (
            "into: 1, out: 2",
            r"mine.py: mine returns \(1, 2, 8, 8\) for 8x8x1 images, \(1, 1, 8, 8\); its forward",
        ),
        ("into: 1, out: 1", ""),
    ],
)
def test_a_network_for_other_images(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    Path("mine.py").write_text(FILE)
    Path("config/suites/mine.yaml").write_text(SUITE)
    with Path("config/models.yaml").open("a") as file:
        file.write(f"\nmine: {{family: mine, file: mine.py, options: {{{options}}}, label: Mine}}\n")
    assert main(["check", "--suite", "mine"]) == bool(words)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    if words:
        assert re.search(words, error), error
