"""The proposed width or depth has the wanted size, whatever a family allows its numbers to be."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.models.match import Size, proposals, size_of
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError

DIT = {"width": 16, "depth": 2, "heads": 2, "patch": 2}


def spec(family: str = "dit", **options) -> ModelSpec:
    return ModelSpec("mine", family, options or DIT)


def found(one: ModelSpec, target: Size, *options: str) -> dict[tuple[str, str], int]:
    return {(p.option, p.by): p.value for p in proposals(one, target, 8, 1, list(options))}


@pytest.mark.parametrize("value", [8, 16, 20, 44])
def test_a_width_is_found_again(value):
    """Below, at and above the own width of 16; a step is 4, as positions need multiples of it."""
    target = size_of(spec(**DIT | {"width": value}), 8, 1)
    assert found(spec(), target, "width") == {("width", "macs"): value, ("width", "parameters"): value}


@pytest.mark.parametrize("value", [1, 2, 7])
def test_a_depth_is_found_again(value):
    target = size_of(spec(**DIT | {"depth": value}), 8, 1)
    assert found(spec(), target, "depth") == {("depth", "macs"): value, ("depth", "parameters"): value}


def test_steps_that_a_family_allows():
    """U-ViT's depth is even; the channels of a UNet are multiples of its groups."""
    uvit = spec("u-vit", width=16, depth=4, heads=2)
    target = size_of(spec("u-vit", width=16, depth=8, heads=2), 8, 1)
    assert found(uvit, target, "depth")["depth", "macs"] == 8
    unet = spec("unet", width=8, blocks=1, multipliers=[1, 2], groups=4, heads=1)
    near = found(unet, Size(10**6, 10**7), "width")
    assert near["width", "parameters"] % 4 == 0 and near["width", "macs"] % 4 == 0


def test_the_nearest_of_two_neighbours():
    below, above = (size_of(spec(**DIT | {"width": w}), 8, 1).parameters for w in (20, 24))
    for share, expected in ((0.3, 20), (0.7, 24)):
        target = Size(round(below ** (1 - share) * above**share), 1)
        assert found(spec(), target, "width")["width", "parameters"] == expected


def test_windows_that_need_their_layers_end_the_search():
    local = spec(**DIT, windows="3@head")
    assert found(local, Size(1, 1), "depth") == {("depth", "macs"): 1, ("depth", "parameters"): 1}


def test_default_options_are_width_and_depth():
    target = size_of(spec(), 8, 1)
    assert {p.option for p in proposals(spec(), target, 8, 1)} == {"width", "depth"}


def test_what_cannot_be_matched_is_one_sentence():
    with pytest.raises(
        BenchError, match="no option 'widht' that is a whole number; it has depth, width, heads"
    ):
        proposals(spec(), Size(1, 1), 8, 1, ["widht"])
    with pytest.raises(BenchError, match="no width or depth"):
        proposals(ModelSpec("wiener", "wiener", {}), Size(1, 1), 8, 1)


FILE = """
from torch import nn
from bench.models.registry import register_model

class Net(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, channels, 3, padding=1))
    def forward(self, x, t, y=None):
        return self.layers(x)

@register_model("mine")
def mine(image_size: int, channels: int, *, width: int):
    return Net(channels, width)
"""


def test_command_on_a_file(tmp_path, capsys):
    path = tmp_path / "my_model.py"
    path.write_text(FILE)
    command = ["models", "match", f"{path}:mine", "--to", "bf-cnn-t16", "--set", "width=8"]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    own, *proposed = report["rows"]
    assert own["change"] is None and own["parameters"] == 18 * 8 + 8 + 1
    by = {row["equal"]: row for row in proposed}
    assert by["parameters"]["change"] == {"width": round((report["parameters"] - 1) / 19)}
    assert by["macs"]["macs_ratio"] == pytest.approx(1, abs=0.01)
    assert main(command) == 0
    assert "<- equal multiply-adds" in capsys.readouterr().out


def test_command_says_what_is_missing(tmp_path, capsys):
    path = tmp_path / "my_model.py"
    path.write_text(FILE)
    assert main(["models", "match", str(path), "--to", "bf-cnn-t16"]) == 1
    assert "lacks the option 'width'" in capsys.readouterr().err
    assert main(["models", "match", str(path), "--to", "bf-cnn-t16", "--set", "width"]) == 1
    assert "write --set width=VALUE" in capsys.readouterr().err
    assert main(["models", "match", str(path), "--to", "identity", "--set", "width=8"]) == 1
    assert "control without training" in capsys.readouterr().err


def test_only_what_runs_is_a_size(tmp_path, capsys):
    """A width that builds and fails in its forward pass is no size, and is said in one sentence when it is asked for."""
    path = tmp_path / "halves.py"
    path.write_text(FILE.replace("return self.layers(x)", "return self.layers(x.view(len(x), -1, 8, 8)[:, :: self.step])")
                    .replace("super().__init__()", "super().__init__()\n        self.step = 1 + width % 3"))  # fmt: skip
    one = ModelSpec("mine", "mine", {"width": 9}, str(path))
    assert [p.value % 3 for p in proposals(one, Size(500, 10**6), 8, 2, ["width"])] == [0, 0]
    command = ["models", "match", f"{path}:mine", "--to", "bf-cnn-t16", "--set", "width=8"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "builds, but its forward pass fails for 16x16x1 images" in error and len(error.splitlines()) == 1
