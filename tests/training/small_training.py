"""A training of seconds: a dataset of disks, a user's network file, and the calls that train it."""

from __future__ import annotations

from bench.models.spec import ModelSpec
from bench.suite.options import MeasureOptions, RunSpec
from bench.training.options import TrainingOptions
from bench.training.train import train

CODE = {"fingerprint": "c", "definitions": {}}
NETWORK = """
import torch
from bench.models.registry import register_model

class Net(torch.nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(channels, 8, 3, padding=1), torch.nn.Conv2d(8, channels, 3, padding=1)
        self.dropout, self.scale = torch.nn.Dropout(0.1), scale

    def forward(self, x, t, y=None):
        return self.second(self.dropout(torch.relu(self.first(x * self.scale))))

@register_model("net")
def net(image_size, channels, scale: float = 1.0):
    return Net(channels, scale)
"""


def spec(place, steps=120, scale=1.0, size=10, **training):
    model = ModelSpec("net", "net", {"scale": scale}, str(place / "net.py"))
    options = TrainingOptions(
        steps=steps, batch=4, learning_rate=training.pop("learning_rate", 1e-3), ema=0.9, **training
    )
    return RunSpec("suite", "data.net.n10.s0", "data", model, size, 0, "", options, MeasureOptions())


def run(place, one, out="out", root="state", **more):
    train(one, place / "data", place / "s0.npz", place / out, place / root, code=CODE, **more)
    rows = (place / out / "history.csv").read_text().splitlines()
    assert rows[0] == "step,loss,learning_rate,images_per_second"
    history = [row.rsplit(",", 1)[0] for row in rows]  # the rate is the clock's
    return (place / out / "weights.safetensors").read_bytes(), history
