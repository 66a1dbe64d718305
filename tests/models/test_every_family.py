"""What holds for every family: pinned behaviour without fixtures, degenerate sizes, presets at the common tiers."""

from __future__ import annotations

import pytest
import torch
from pinned import inputs, numbers, patterned

from bench.models.families import FAMILIES
from bench.models.registry import build, factory_of, parameters_of
from bench.models.spec import ModelSpec
from bench.models.windows import parse_windows
from bench.suite.config import load_models
from bench.support.errors import BenchError

PRESETS = load_models()
CONTROLS = {"identity", "wiener", "wiener-pool", "memoriser", "local-score"}
CLASSES = {"num_classes": 2}
LAYERS = {"width": 8, "heads": 2, "patch": 2}
UNET = {"width": 8, "blocks": 1, "multipliers": [1, 2], "groups": 4}
TINY = {
    "dit": {**LAYERS, "depth": 1},
    "vit": {**LAYERS, "depth": 1},
    "u-vit": {**LAYERS, "depth": 2},
    "iu-vit": {**LAYERS, "depth": 2},
    "ascend": {**LAYERS, "encoder": 1, "decoder": 1},
    "unet": {**UNET, "heads": 2},
    "adm": {**UNET, "attention": [2], "head_width": 8, "learned_sigma": False},
    "bf-unet": {"width": 4, "levels": 1},
    "bf-cnn": {"width": 4, "depth": 3},
    "nf-unet": {"width": 4, "levels": 2},
    "nf-resnet": {"width": 16, "depth": 1},
    "mlp": {"width": 8, "depth": 1},
    "u-dit": {"width": 8, "heads": 2, "depths": [1, 1, 1, 1, 1]},
    "edm": {"width": 8, "blocks": 1, "multipliers": [1, 2]},
}  # one layer, or one block per level
CONDITIONAL = {family: options for family, options in TINY.items() if not family.startswith("bf-")}
SIDES = {
    "bf-unet": 6,
    "bf-cnn": 7,
    "unet": 6,
    "adm": 6,
    "u-dit": 12,
    "edm": 6,
}  # odd grids inside; others: odd numbers of patches

PINNED = {
    "dit": [-1.13221, 0.7296, -0.17039, 0.76068],
    "vit": [-0.29142, -0.37229, 0.18804, 0.35966],
    "u-vit": [0.24699, -0.06739, 0.17002, 0.22309],
    "iu-vit": [0.24699, -0.06739, 0.17002, 0.22309],
    "ascend": [0.29841, 0.19372, -0.20582, 0.26859],
    "unet": [-0.20841, 0.04212, -0.00434, 0.14513],
    "adm": [-0.08202, 0.45221, 0.38799, 0.2676],
    "bf-unet": [-0.02793, 0.29893, 0.00171, 0.12477],
    "bf-cnn": [-2.83917, 2.3824, 0.0325, 1.44062],
    "nf-unet": [-0.12775, 0.58356, 0.02395, 0.312],
    "nf-resnet": [-0.04076, -0.75293, -0.29635, 0.31561],
    "mlp": [0.04907, 0.15544, -0.03587, 0.34711],
    "u-dit": [0.39735, 0.83786, 0.40621, 0.73796],
    "edm": [0.23686, -0.42336, -0.60654, 0.54619],
}


def model(family: str, side: int, channels: int, **options):
    return build(ModelSpec("tiny", family, TINY[family] | options), side, channels)


def test_every_family_is_here():
    assert TINY.keys() | CONTROLS | {"diffusers"} == FAMILIES.keys()  # that one: tests/jobs/test_adopt.py


@pytest.mark.parametrize("family", TINY)
@torch.no_grad()
def test_behaviour_is_pinned(family):
    x, t, _ = inputs()
    assert numbers(patterned(model(family, 8, 2))(x, t)) == pytest.approx(PINNED[family], rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("family", TINY)
@torch.no_grad()
def test_odd_grids_one_channel_and_latents(family, channels):
    side = SIDES.get(family, 6)
    x, t = torch.randn(1, channels, side, side), torch.tensor([500])
    out = model(family, side, channels).eval()(x, t)
    assert out.shape == x.shape and out.isfinite().all()


@pytest.mark.parametrize("family", CONDITIONAL)
@torch.no_grad()
def test_labels(family):
    """One class needs no label; two do; with label dropout a missing label is the null label."""
    x, t, y = inputs()
    one = patterned(model(family, 8, 2, num_classes=1))
    assert torch.equal(one(x, t), one(x, t, torch.zeros_like(y)))
    two = patterned(model(family, 8, 2, num_classes=2))
    assert not torch.equal(two(x, t, y), two(x, t, 1 - y))
    with pytest.raises(ValueError, match="give y"):
        two(x, t)
    dropped = patterned(model(family, 8, 2, num_classes=2, label_dropout=0.5))
    assert torch.equal(dropped(x, t), dropped(x, t, torch.full_like(y, 2)))
    states = {tuple(dropped.train()(x[:1], t[:1], y[:1]).flatten().tolist()) for _ in range(16)}
    assert len(states) == 2, "in training a label is kept or dropped"


@pytest.mark.parametrize("tier", ["t16", "t32", "s32"])
@pytest.mark.parametrize("family", [f for f in TINY if not f.startswith("nf-") and f not in ("mlp", "edm")])
def test_tiers(family, tier):
    """Families for users have presets in every tier: 16x16 grey near 0.02 GMAC, 32x32 colour at 0.4 and at 1.0 to 1.3."""
    from bench.models.costs import macs

    preset = PRESETS[f"{family}-{tier}"]
    with torch.device("meta"):
        network = build(ModelSpec(family, preset.family, preset.options), preset.image_size, preset.channels)
    low, high = {"t16": (0.009, 0.025), "t32": (0.35, 0.5), "s32": (0.95, 1.31)}[tier]
    assert (preset.image_size, preset.channels) == ((16, 1) if tier == "t16" else (32, 3))
    assert low <= macs(network, preset.image_size, preset.channels).total / 1e9 <= high


TREATMENT = {
    "local": [3, 3, 5, None, None, None],
    "local-mix": [3, None, 3, None, 5, None],
    "local-tail": [None, None, None, 3, 3, 5],
    "local-smaller": [3, 3, 3, None, None, None],
    "local-star": [3, 3, 5, 5, None, None],
    "local-star-mix": [3, 3, None, 5, 5, None],
    "local-star-tail": [None, None, 3, 3, 5, 5],
    "local-star-larger": [5, 5, 7, 7, None, None],
    "local-equal": [5, 5, 5, None, None, None],
    "local-growing": [3, 5, 7, None, None, None],
}


def test_the_small_dit_has_the_papers_treatment():
    """Claims ask for roles: each is one preset of a baseline, with these windows at 16x16."""
    found = [(p.baseline, p.role) for p in PRESETS.values() if p.role and p.role.startswith("local")]
    assert len(set(found)) == len(found)
    for baseline in ("dit-t16", "dit-xs1"):
        assert {role for base, role in found if base == baseline} == TREATMENT.keys()
    for preset in PRESETS.values():
        if preset.baseline == "dit-t16" and preset.role in TREATMENT:
            assert parse_windows(preset.options["windows"], 6) == TREATMENT[preset.role]


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_presets_fit_both_sides_and_colours(side, channels):
    x, t = torch.randn(1, channels, side, side, device="meta"), torch.tensor([500], device="meta")
    for name, preset in PRESETS.items():
        if "-t16" in name:
            with torch.device("meta"):
                network = build(ModelSpec(name, preset.family, preset.options), side, channels)
            assert network(x, t).shape == x.shape


WRONG = [
    "a text",
    True,
    None,
    [],
    {},
    float("nan"),
    float("inf"),
    -1,
    0,
    0.5,
    [0],
    [-1],
    [16],
    [[3]],
    {"a": 1},
]
# what a network is built from at these values: an option may take them (dropout 0, no classes, a mean of 0.5 ...)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_options_are_one_sentence(family):
    """Every option of every family at wrong values: refused in one sentence that names it, or a network that runs."""
    own = TINY.get(family, {})
    for name in parameters_of(factory_of(ModelSpec("x", family, {}))):
        for value in WRONG:
            try:
                with torch.device("meta"):
                    network = build(ModelSpec("tiny", family, own | {name: value}), 8, 2)
            except BenchError as error:
                said = str(error)
                assert "\n" not in said and said.endswith(".") and said.startswith("Model 'tiny'"), said
                if "must be" in said:
                    assert name in said
            else:
                assert family in CONTROLS or runs(network), f"{name}: {value!r}"


def runs(network: torch.nn.Module) -> bool:
    x = torch.zeros(1, 2, 8, 8, device="meta")
    t = torch.zeros(1, dtype=torch.int64, device="meta")
    return network.eval()(x, t, t if getattr(network, "num_classes", 0) else None).shape == x.shape
