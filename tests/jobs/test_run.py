"""A finished run, opened: its network returns eps, its recipe is checked, foreign code is not executed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import bench
from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import write_subset
from bench.jobs.run import Run
from bench.models.spec import ModelSpec
from bench.suite.options import MeasureOptions, RunSpec
from bench.support.errors import BenchError
from bench.training.options import TrainingOptions
from bench.training.train import train

NETWORK = """
import torch
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, t, y=None):
        return self.weight * x

@register_model("net")
def net(image_size, channels):
    open("executed", "w").close()
    return Net()
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A run of two steps with prediction v, of a network from a user's file, in ``out``."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=10, test=4)
    build_dataset("data", row, tmp_path / "data")
    write_subset(tmp_path / "data", 0, tmp_path / "s0.npz")
    Path("net.py").write_text(NETWORK)
    options = TrainingOptions(steps=2, batch=2, prediction="v", ema=0.5)
    model = ModelSpec("net", "net", {}, str(tmp_path / "net.py"))
    one = RunSpec("suite", "data.net.n4.s0", "data", model, 4, 0, "", options, MeasureOptions())
    places = (tmp_path / name for name in ("data", "s0.npz", "out", "state"))
    train(one, *places, code={"fingerprint": "c", "definitions": {}})
    Path("executed").unlink()
    return one


def test_the_network_returns_eps_whatever_it_was_trained_to_predict(spec):
    run = Run("out")
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0, 400, 999])
    v = load_file("out/weights.safetensors")["weight"] * x
    kept = torch.from_numpy(run.schedule.alphas_cumprod[t]).float().view(-1, 1, 1, 1)
    torch.testing.assert_close(run.model(x, t), kept.sqrt() * v + (1 - kept).sqrt() * x)


def test_the_code_of_a_run_folder_is_executed_only_when_allowed(spec):
    with pytest.raises(BenchError, match=r"out holds a network of .*net.py; read that file.*allow_code=True"):
        bench.load("out")
    assert not Path("executed").exists()
    assert bench.load("out", allow_code=True).model is not None and Path("executed").exists()
