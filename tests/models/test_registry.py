"""From a preset to a network: options are checked by name and type, user's files are loaded by path."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from bench.models.families import FAMILIES
from bench.models.registry import build, check_options, factory_of, module_of, same_network
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError

TINY = {"width": 16, "depth": 1, "heads": 2, "patch": 2}

USER_FILE = """
from torch import nn
from bench.models.dit import DiT  # a built-in family in reach does not count as one of this file
from bench.models.registry import register_model

class Net(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, width, padding="same")
    def forward(self, x, t, y=None):
        return self.layer(x)

@register_model("mine")
def mine(image_size: int, channels: int, *, width: int = 3):
    return Net(channels, width)
"""


def spec(**options):
    return ModelSpec("preset", "dit", {**TINY, **options})


def test_every_family_names_a_module_that_registers_it():
    for family, module in FAMILIES.items():
        assert importlib.util.find_spec(module) is not None, module
        assert callable(factory_of(ModelSpec(family, family, {})))


def test_build_on_the_meta_device_allocates_nothing():
    with torch.device("meta"):
        model = build(spec(), 8, 1)
    assert {p.device.type for p in [*model.parameters(), *model.buffers()]} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 16}, "unknown option 'widht' .did you mean 'width'"),
        ({"width": "16"}, "'width' must be a whole number of at least 1, not '16'"),
        ({"width": True}, "'width' must be a whole number"),
        ({"mlp_ratio": "4"}, "'mlp_ratio' must be a number above 0"),
        ({"block": "adaln0"}, "one of 'in-context', 'cross-attention', 'adaln', 'adaln-zero', not 'adaln0'"),
        ({"learned_sigma": "yes"}, "must be true or false"),
        ({"windows": [3.5]}, "'windows' must be"),
        ({"windows": [4]}, "Model 'preset' .8x8x1.: a window is an odd number"),
        ({"heads": 3}, "heads 3 does not divide the width 16"),
        ({"patch": 3}, "patch 3 does not divide the image side 8"),
        ({"width": 18, "heads": 3}, "multiple of 4"),
        ({"width": 10**11}, "'width' must be a million at most, not 100000000000"),
        ({"depth": 0}, "'depth' must be a whole number of at least 1, not 0"),
        ({"label_dropout": 0.1}, "label_dropout needs num_classes"),
        ({"num_classes": 2, "label_dropout": 1.0}, r"'label_dropout' must be a number in \[0, 1\)"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(options, message):
    with pytest.raises(BenchError, match=message) as caught:
        build(spec(**options), 8, 1)
    assert "\n" not in str(caught.value)


def test_missing_option_and_unknown_family():
    with pytest.raises(BenchError, match="lacks the option 'depth'"):
        build(ModelSpec("preset", "dit", {"width": 16, "heads": 2}), 8, 1)
    with pytest.raises(BenchError, match=r"unknown family 'dti' .did you mean 'dit'"):
        module_of(ModelSpec("preset", "dti", {}))


def test_numbers_that_yaml_writes_without_a_point_are_floats():
    check_options(spec(mlp_ratio=2), factory_of(spec()))


def user_spec(path, family="mine", **options):
    return ModelSpec("user", family, options, str(path))


def test_user_file(tmp_path):
    path = tmp_path / "my_model.py"
    path.write_text(USER_FILE)
    model = build(user_spec(path, width=5), 8, 1)
    assert model.layer.kernel_size == (5, 5)
    assert module_of(user_spec(path)) == str(path)
    assert build(user_spec(path), 8, 1).layer.kernel_size == (3, 3), "a file can be loaded twice"
    with pytest.raises(BenchError, match=r"no model 'dit'.*it has mine"):
        build(user_spec(path, family="dit"), 8, 1)


def factory(line: str) -> str:
    return (
        "from bench.models.registry import register_model\n\n\n"
        f'@register_model("mine")\ndef mine(image_size, channels):\n    {line}\n'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (USER_FILE + USER_FILE, "registers the model 'mine' twice"),
        ("x = 1\n", "registers no model"),
        ("import a_package_nobody_has\n", "needs the package 'a_package_nobody_has'"),
        ("def f(:\n", "cannot be loaded .SyntaxError"),
        ("1 / 0\n", "cannot be loaded .ZeroDivisionError"),
        (factory("import a_package_nobody_has"), "needs the package 'a_package_nobody_has'"),
        (factory("1 / 0"), "the factory of 'mine' fails for 8x8x1 images .ZeroDivisionError"),
        (factory("return 3"), "its factory returns int, not a torch module"),
    ],
)
def test_bad_user_file(tmp_path, text, message):
    path = tmp_path / "my_model.py"
    path.write_text(text)
    with pytest.raises(BenchError, match=message) as caught:
        build(user_spec(path), 8, 1)
    assert "my_model.py" in str(caught.value) or "Model 'user'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_user_file(tmp_path):
    with pytest.raises(BenchError, match="There is no model file"):
        build(user_spec(tmp_path / "absent.py"), 8, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("dit", TINY), ("dit", {**TINY, "mlp_ratio": 4, "windows": "global"}), True),
        (("dit", {**TINY, "windows": "7"}), ("dit", TINY), True),  # 4x4 tokens: a window of 7 sees all
        (("dit", {**TINY, "windows": "3"}), ("dit", {**TINY, "windows": [3]}), True),
        (("dit", {**TINY, "windows": "3"}), ("dit", TINY), False),
        (("u-vit", {"width": 8, "depth": 2, "heads": 1}), ("iu-vit", {"width": 8, "depth": 2, "heads": 1}), True),
        (("adm", {"head_width": None}), ("unet", {}), False),
        (("unet", {"multipliers": [1, 2, 2, 2]}), ("unet", {}), True),
    ],
)  # fmt: skip
def test_presets_that_are_one_network_are_told(one, other, same):
    first, second = (ModelSpec(f"preset {i}", *pair) for i, pair in enumerate((one, other)))
    assert same_network(first, second, 8) is same
