"""Vision transformers: equal to the published U-ViT, to the published sizes, and to themselves."""

from __future__ import annotations

import functools

import parity
import pytest
import torch

from bench.models.capture import attention_cores, capture_attention
from bench.models.conformance import perturb, run
from bench.models.costs import macs, parameters
from bench.models.foreign import renamed
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.models.vit import ViT, u_vit, vit
from bench.suite.config import load_models

PRESETS = load_models()
OURS = {name: p for name, p in PRESETS.items() if p.family in ("vit", "u-vit", "iu-vit", "ascend")}
TINY = {"width": 16, "heads": 2}


def test_equals_the_published_network(fixtures):
    config, weights, arrays = parity.read(fixtures, "u_vit_p2_16")
    given = config["arguments"]
    assert (given["num_classes"], given["skip"], given["mlp_time_embed"]) == (-1, True, False)
    model = u_vit(
        given["img_size"],
        given["in_chans"],
        depth=given["depth"],
        width=given["embed_dim"],
        heads=given["num_heads"],
        patch=given["patch_size"],
        mlp_ratio=given["mlp_ratio"],
        output_conv=given["conv"],
    ).eval()
    model.load_state_dict(renamed(weights, model, "u_vit"))
    with torch.no_grad():
        out = model(arrays["x"], arrays["t"])
    assert parity.error(out, arrays["out"]) < 1e-5


@functools.cache
def sizes(name: str) -> tuple[float, float]:
    """Return parameters (M) and GMAC of a preset."""
    preset = PRESETS[name]
    with torch.device("meta"):
        model = build(ModelSpec(name, preset.family, preset.options), preset.image_size, preset.channels)
    count = macs(model, preset.image_size, preset.channels).total
    return parameters(model) / 1e6, count / 1e9


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "u-vit-s2": (44, 44.255, 12.20),  # printed parameters (M), counted parameters (M), GMAC
        "u-vit-m4": (131, 130.940, 35.24),
        "u-vit-l4": (287, 286.828, 76.47),
        "u-vit-l2": (287, 286.763, 76.46),
        "u-vit-h2": (501, 500.832, 133.20),
    }.items(),
)
def test_published_sizes(name, expected):
    size, cost = sizes(name)
    assert (round(size), round(size, 3), round(cost, 2)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "vit-s32": (3.165, 0.975),
        "iu-vit-s32": (3.386, 1.031),
        "u-vit-s32": (3.386, 1.031),
        "vit-t32": (1.422, 0.473),
        "iu-vit-t32": (1.520, 0.498),
    }.items(),
)
def test_sizes_of_the_tiers(name, expected):
    size, cost = sizes(name)
    assert round(size, 3) == expected[0] and cost == pytest.approx(expected[1], abs=6e-4)


@pytest.mark.parametrize("name", OURS)
def test_tiers_cost_what_they_say(name):
    tier = next((t for t in ("t16", "t32", "s32") if f"-{t}" in name), None)
    low, high = {"t16": (0.015, 0.025), "t32": (0.35, 0.52), "s32": (0.95, 1.3), None: (7, 140)}[tier]
    assert low < sizes(name)[1] < high


@pytest.mark.parametrize("tier", ["t16", "t32", "s32", "s2"])
def test_the_three_shapes_of_ascend_cost_the_same(tier):
    shapes = [f"ascend-{tier}", f"ascend-{tier}-symmetric", f"ascend-{tier}-decoder"]
    costs = [sizes(name)[1] for name in shapes]
    assert max(costs) == min(costs)
    splits = [(PRESETS[s].options["encoder"], PRESETS[s].options["decoder"]) for s in shapes]
    assert splits[0] == splits[2][::-1] and splits[0][0] > splits[1][0] == splits[1][1] > splits[2][0]


def test_a_wider_encoder_costs_the_same_within_one_percent():
    assert sizes("ascend-s32-wide")[1] == pytest.approx(sizes("ascend-s32-symmetric")[1], rel=0.01)


def test_interpretations_are_marked():
    for name, preset in OURS.items():
        assert preset.interpretation == (preset.family != "u-vit"), name
        assert ("interpretation" in preset.source) == preset.interpretation, name


@pytest.mark.parametrize(
    ("encoder", "decoder", "kept"),
    [
        (4, 4, [3, 2, 1, 0]),  # block i to block L - i
        (6, 2, [4, 1]),
        (2, 6, [1, 1, 1, 0, 0, 0]),
        (3, 1, [1]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_skips_join_the_nearest_relative_depth(encoder, decoder, kept):
    assert ViT(4, 1, encoder=encoder, decoder=decoder, width=8, heads=1).kept == kept


def test_a_decoder_block_reads_its_skip():
    model = perturb(ViT(8, 1, encoder=2, decoder=1, **TINY)).eval()
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([4])
    with torch.no_grad():
        before = model(x, t)
        model.decoder[0].fuse.weight[:, 16:] = 0
        assert (model(x, t) - before).abs().max() > 1e-4


FAMILIES = {
    "vit": (vit, {"depth": 2}),
    "u-vit": (u_vit, {"depth": 2, "time": "token-mlp"}),
    "iu-vit": (u_vit, {"depth": 2, "time": "adaptive", "stem": "overlapping"}),
    "ascend": (ViT, {"encoder": 2, "decoder": 1, "decoder_width": 8}),
}


@pytest.mark.parametrize(
    ("image_size", "channels", "options"),
    [
        (7, 1, {"patch": 1}),  # odd grid
        (9, 3, {"patch": 3, "windows": "3"}),
        (2, 1, {"patch": 2}),  # one token
        (8, 4, {}),  # latents
        (8, 1, {"num_classes": 1}),
        (8, 1, {"num_classes": 1, "label_dropout": 0.5}),
        (15, 2, {"patch": 1, "windows": "5,3"}),  # tiles of unequal length
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_degenerate_sizes(family, image_size, channels, options):
    factory, own = FAMILIES[family]
    model = perturb(factory(image_size, channels, **TINY, **own, **options)).eval()
    x = torch.randn(2, channels, image_size, image_size)
    out = model(x, torch.tensor([0, 999]))
    assert out.shape == x.shape and out.isfinite().all() and out.any()


@pytest.mark.parametrize(
    ("factory", "options"),
    [(vit, {"depth": 1}), (u_vit, {"depth": 0}), (ViT, {"encoder": 1, "decoder": 1})],
)
def test_one_layer(factory, options):
    results = run(lambda: factory(4, 1, **TINY, **options), 4, 1)
    assert not [r for r in results if r.status == "fail"]


@pytest.mark.parametrize("time", ["token", "token-mlp", "adaptive"])
@pytest.mark.parametrize("stem", ["patch", "overlapping"])
def test_every_switch_conforms(time, stem):
    options = {"depth": 2, "time": time, "stem": stem, "skips": stem == "patch", "num_classes": 2}
    results = run(lambda: u_vit(8, 1, **TINY, **options), 8, 1)
    assert not [r for r in results if r.status != "pass"]


def test_overlapping_stem_sees_the_border_of_the_neighbours():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 3] = 1  # last pixel of patch (1, 1), border of patch (2, 2)
    for stem, reached in (("patch", 1), ("overlapping", 4)):
        model = u_vit(8, 1, **TINY, depth=2, stem=stem)
        change = (model.stem(x) - model.stem(torch.zeros_like(x))).abs().sum(1)[0]
        assert change.shape == (4, 4) and (change > 0).sum() == reached


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ViT(8, 1, encoder=0, decoder=0, **TINY), "at least one block"),
        (lambda: ViT(8, 1, encoder=0, decoder=2, **TINY), "skips need an encoder"),
        (lambda: vit(8, 1, depth=1, width=16, heads=3), "does not divide the width"),
        (lambda: vit(9, 1, depth=1, **TINY), "does not divide the image side"),
        (lambda: vit(8, 1, depth=1, **TINY, label_dropout=0.1), "needs num_classes"),
        (lambda: vit(8, 1, depth=1, **TINY, windows="3*2"), "names 2 layers; the network has 1"),
        (lambda: vit(8, 1, depth=1, **TINY)(torch.zeros(1, 1, 4, 4), torch.tensor([0])), "built for images"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_of_each_layer(family):
    factory, own = FAMILIES[family]
    model = perturb(factory(8, 1, **TINY, **own, windows="3@head", num_classes=3))
    with capture_attention(model) as maps:
        model(torch.randn(2, 1, 8, 8), torch.tensor([1, 2]), torch.tensor([0, 2]))
    extra = 0 if own.get("time") == "adaptive" else 2
    assert [m.shape for m in maps.values()] == [(2, 2, extra + 16, extra + 16)] * len(maps)
    assert next(iter(maps)) == "encoder.0.attention.core"
    first = maps["encoder.0.attention.core"]
    assert (first[..., -1, extra] == 0).all()  # first patch, seen from the last
    assert (first[..., :extra] > 0).all() and (
        first[..., :extra, :] > 0
    ).all()  # extra tokens see and are seen
    assert all((maps[name] > 0).all() for name in list(maps)[1:])


def test_windows_are_given_in_the_order_in_which_blocks_act():
    model = u_vit(16, 1, depth=4, **TINY, windows=[3, 5, 7, 9, 11])
    assert [core.window for core in attention_cores(model).values()] == [3, 5, 7, 9, 11]


def test_u_vit_without_skips_is_a_plain_vit_with_an_output_convolution():
    model = u_vit(8, 1, **TINY, depth=2, skips=False, output_conv=False)
    plain = vit(8, 1, **TINY, depth=3)
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        theirs.data = mine.data
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([4])
    assert torch.equal(model(x, t), plain(x, t))
    assert u_vit(8, 1, **TINY, depth=2, qkv_bias=True).middle.attention.qkv.bias is not None
