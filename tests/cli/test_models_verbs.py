"""``bench models``: the list for people and machines, and the check of a file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bench.cli import main
from bench.jobs import sizes
from bench.suite.config import load_models


@pytest.fixture
def few_presets(monkeypatch):
    """Three rows instead of all: building every size takes seconds."""
    presets = load_models()
    kept = {name: presets[name] for name in ("dit-t16", "dit-xs1")}
    kept["dit-mine"] = dataclasses.replace(kept["dit-t16"], interpretation=True)
    monkeypatch.setattr("bench.suite.config.load_models", lambda: kept)


@pytest.mark.usefixtures("few_presets")
def test_list(capsys):
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["dit-xs1"]["parameters"] == 14_273_034
    assert rows["dit-xs1"]["macs"] == pytest.approx(15.713e9, abs=1e6)
    assert rows["dit-xs1"]["macs_without_attention"] == pytest.approx(9.371e9, abs=1e6)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows) + 1
    (line,) = [line for line in lines if line.startswith("dit-xs1 ")]
    assert "14.273" in line and "15.713" in line
    for row in rows.values():
        marked = [
            line for line in lines if line.split()[0] == row["name"] and line.endswith("interpretation")
        ]
        assert bool(marked) == row["interpretation"]


def test_stored_counts_are_used_until_options_or_code_change(tmp_path, monkeypatch):
    presets = {name: load_models()[name] for name in ("dit-t16", "wiener")}
    monkeypatch.setattr(sizes, "folder", lambda: tmp_path)
    counted = sizes.sizes(presets)
    assert counted["wiener"].macs is None and counted["dit-t16"].macs > 1e6
    sizes.store(presets, counted)
    with monkeypatch.context() as patch:
        patch.setattr(sizes, "_count", lambda name, preset: pytest.fail(f"{name} is counted again"))
        assert sizes.sizes(presets) == counted
    wider = dataclasses.replace(presets["dit-t16"], options={**presets["dit-t16"].options, "width": 96})
    assert sizes.sizes({"dit-t16": wider})["dit-t16"].parameters > counted["dit-t16"].parameters
    monkeypatch.setattr(sizes, "fingerprint", lambda *entries: "changed")
    monkeypatch.setattr(sizes, "_count", lambda name, preset: sizes.Size(1, 2, 3))
    assert sizes.sizes(presets)["dit-t16"] == (1, 2, 3)


FILE = """
from torch import nn
from bench.models.registry import register_model

class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)
    def forward(self, x, t, y=None):
        return self.layer(x){spoiled}

@register_model("mine")
def mine(image_size: int, channels: int):
    return Net(channels)
"""


def test_check_of_a_file(tmp_path, capsys):
    path = tmp_path / "my_model.py"
    path.write_text(FILE.format(spoiled=""))
    assert main(["models", "check", str(path), "--image-size", "8", "--channels", "3"]) == 0
    out = capsys.readouterr().out
    assert "pass  gradients" in out and "skip  attention_maps: no self-attention" in out
    path.write_text(FILE.format(spoiled=".mean()"))
    assert main(["models", "check", f"{path}:mine", "--image-size", "8"]) == 1
    assert "fail  shapes: forward gives ()" in capsys.readouterr().out


def test_check_of_what_is_not_there(tmp_path, capsys):
    assert main(["models", "check", "dit-t61"]) == 1
    assert "did you mean 'dit-t16'" in capsys.readouterr().err
    two = FILE.format(spoiled="") + '\nregister_model("other")(lambda image_size, channels: Net(channels))\n'
    path = tmp_path / "two.py"
    path.write_text(two)
    assert main(["models", "check", str(path)]) == 1
    assert "registers mine, other; say which one" in capsys.readouterr().err
