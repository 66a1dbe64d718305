"""DiT: equal to the published network, to the published sizes, and to itself."""

from __future__ import annotations

import copy

import parity
import pytest
import torch
from pinned import patterned

from bench.models.attention import AttentionCore
from bench.models.capture import capture_attention
from bench.models.conformance import perturb
from bench.models.costs import macs, parameters
from bench.models.dit import DiT
from bench.models.embeddings import position_table, time_code
from bench.models.foreign import renamed

BLOCKS = ["in-context", "cross-attention", "adaln", "adaln-zero"]
TINY = {"depth": 2, "width": 16, "heads": 2, "patch": 2}
SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
CLASSES = {"learned_sigma": True, "num_classes": 1000, "label_dropout": 0.1}


@pytest.mark.parametrize("name", ["dit_adaln_zero_p1_8", "dit_adaln_zero_p2_16"])
def test_equals_the_published_network(fixtures, name):
    config, weights, arrays = parity.read(fixtures, name)
    given = config["arguments"]
    model = DiT(
        given["input_size"],
        given["in_channels"],
        depth=given["depth"],
        width=given["hidden_size"],
        heads=given["num_heads"],
        patch=given["patch_size"],
        mlp_ratio=given["mlp_ratio"],
        learned_sigma=given["learn_sigma"],
        num_classes=given["num_classes"],
        label_dropout=given["class_dropout_prob"],
    ).eval()
    model.load_state_dict(renamed(weights, model, name))
    predict = model.raw if given["learn_sigma"] else model
    with torch.no_grad():
        out = predict(arrays["x"], arrays["t"], arrays["y"])
    assert parity.error(out, arrays["out"]) < 1e-5


def sizes(image_size, channels, **options):
    with torch.device("meta"):
        model = DiT(image_size, channels, **options)
    count = macs(model, image_size, channels)
    return (
        round(parameters(model) / 1e6, 3),
        round(count.total / 1e9, 3),
        round(count.without_attention / 1e9, 3),
    )


PUBLISHED = {  # size, patch: parameters (M), GMAC counted; the paper's Table 4 to its digits
    ("S", 8): (33.142, 0.358, 33, 0.36),
    ("S", 4): (32.920, 1.413, 33, 1.41),
    ("S", 2): (32.865, 6.056, 33, 6.06),
    ("B", 8): (130.869, 1.418, 131, 1.42),
    ("B", 4): (130.426, 5.565, 130, 5.56),
    ("B", 2): (130.316, 23.005, 130, 23.01),
    ("L", 8): (458.578, 5.011, 459, 5.01),
    ("L", 4): (457.988, 19.696, 458, 19.70),
    ("L", 2): (457.841, 80.698, 458, 80.71),
    ("XL", 8): (675.665, 7.392, 676, 7.39),
    ("XL", 4): (675.001, 29.044, 675, 29.05),
    ("XL", 2): (674.835, 118.621, 675, 118.64),
}


@pytest.mark.parametrize("size_and_patch", PUBLISHED)
def test_published_sizes(size_and_patch):
    (depth, width, heads), patch = SIZES[size_and_patch[0]], size_and_patch[1]
    expected = PUBLISHED[size_and_patch]
    found = sizes(32, 4, depth=depth, width=width, heads=heads, patch=patch, **CLASSES)
    assert found[:2] == expected[:2]
    assert round(found[0]) == expected[2]
    assert found[1] == pytest.approx(
        expected[3], abs=0.03
    )  # the paper's tool also counts LayerNorm arithmetic


@pytest.mark.parametrize(
    ("block", "expected"),
    {
        "in-context": (449.163, 119.354),
        "cross-attention": (597.992, 137.603),
        "adaln": (600.452, 118.547),
        "adaln-zero": (674.835, 118.621),
    }.items(),
)
def test_published_sizes_of_the_four_blocks(block, expected):
    assert sizes(32, 4, depth=28, width=1152, heads=16, patch=2, block=block, **CLASSES)[:2] == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    {
        "in-context": (3.651, 1.119),
        "cross-attention": (4.840, 1.262),
        "adaln": (4.904, 1.110),
        "adaln-zero": (5.497, 1.110),
    }.items(),
)
def test_small_tier_sizes(block, expected):
    assert sizes(32, 3, depth=8, width=192, heads=3, patch=2, block=block)[:2] == expected


def test_the_papers_sizes():
    xs = {"depth": 12, "width": 252, "heads": 4, "patch": 1}
    s = {"depth": 12, "width": 384, "heads": 6, "patch": 1}
    assert sizes(32, 3, **xs, **CLASSES) == (14.273, 15.713, 9.371)
    assert sizes(32, 3, **s, **CLASSES) == (32.850, 31.422, 21.758)
    assert sizes(32, 3, **xs)[0] == 14.020
    assert sizes(32, 3, **s)[:2] == (32.465, 31.420)
    with torch.device("meta"):
        exact = DiT(32, 3, **xs, **CLASSES)
    assert parameters(exact) == 14_273_034
    # "300.49 GFLOPS" of the paper: two per multiply-add, batch 16, products left out, plus elementwise work
    assert 2 * 16 * macs(exact, 32, 3).without_attention / 1e9 == pytest.approx(300.49, rel=0.003)


def test_windows_change_the_products_alone():
    options = {"depth": 6, "width": 64, "heads": 2, "patch": 1}
    dense, local = sizes(16, 1, **options), sizes(16, 1, windows="3*3@head", **options)
    assert local[0] == dense[0] and local[2] == dense[2] and local[1] < dense[1]
    with torch.device("meta"):
        model, exact = DiT(16, 1, windows="3*6", **options), AttentionCore((16, 16), 3)
    pairs = exact.mask(torch.device("cpu")).sum().item()
    count = macs(model, 16, 1)
    assert count.total - count.without_attention == 6 * 2 * 64 * pairs


@pytest.mark.parametrize(
    ("image_size", "channels", "options"),
    [
        (7, 1, {"patch": 1}),  # odd grid
        (9, 3, {"patch": 3, "windows": "3"}),
        (2, 1, {"patch": 2}),  # one token
        (8, 4, {"depth": 1}),  # latents, one layer
        (8, 1, {"num_classes": 1}),
        (8, 1, {"num_classes": 1, "label_dropout": 0.5, "learned_sigma": True}),
        (15, 2, {"patch": 1, "windows": [5, None]}),  # tiles of unequal length
    ],
)
@pytest.mark.parametrize("block", BLOCKS)
def test_degenerate_sizes(block, image_size, channels, options):
    model = perturb(DiT(image_size, channels, **{**TINY, **options, "block": block})).eval()
    x = torch.randn(2, channels, image_size, image_size)
    out = model(x, torch.tensor([0, 999]))
    assert out.shape == x.shape and out.isfinite().all() and out.any()


def test_output_is_zero_at_the_start():
    for block in BLOCKS:
        assert not DiT(8, 1, **TINY, block=block)(torch.randn(1, 1, 8, 8), torch.tensor([5])).any()


def test_null_label():
    model = perturb(DiT(8, 1, **TINY, num_classes=3, label_dropout=0.1)).eval()
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 2])
    assert torch.equal(model(x, t), model(x, t, torch.tensor([3, 3])))
    assert not torch.equal(model(x, t), model(x, t, torch.tensor([0, 1])))
    without = DiT(8, 1, **TINY, num_classes=3)
    with pytest.raises(ValueError, match="no null label"):
        without(x, t)


def test_labels_are_dropped_in_training_alone():
    model = perturb(DiT(8, 1, **TINY, num_classes=3, label_dropout=0.5))
    x, t, y = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64), torch.ones(64, dtype=torch.int64)
    torch.manual_seed(0)
    dropped = (model.train()(x, t, y) - model.eval()(x, t)).flatten(1).abs().amax(1) < 1e-6
    assert 16 < dropped.sum() < 48
    assert len(model.eval()(x, t, y).unique(dim=0)) == 1


def test_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"built for images of shape \(1, 8, 8\), not \(1, 4, 4\)"):
        DiT(8, 1, **TINY)(torch.zeros(1, 1, 4, 4), torch.tensor([0]))


@pytest.mark.parametrize("block", BLOCKS)
def test_maps_of_each_layer(block):
    model = perturb(DiT(8, 1, **TINY, block=block, windows="3@head"))
    with capture_attention(model) as maps:
        model(torch.randn(2, 1, 8, 8), torch.tensor([1, 2]))
    count = 16 + 2 * (block == "in-context")
    assert [m.shape for m in maps.values()] == [(2, 2, count, count)] * 2
    assert list(maps) == ["blocks.0.attention.core", "blocks.1.attention.core"]
    assert (maps["blocks.0.attention.core"][..., -1, -16] == 0).all()  # first patch, seen from the last
    assert (maps["blocks.1.attention.core"] > 0).all()


def test_windows_are_local_in_effect():
    """With two 3 x 3 layers, a pixel changes only outputs at most two tokens away."""
    model = perturb(DiT(9, 1, **{**TINY, "patch": 1}, windows="3*2")).eval()
    x, t = torch.randn(1, 1, 9, 9), torch.tensor([10])
    changed = x.clone()
    changed[0, 0, 4, 4] += 1
    moved = (model(x, t) - model(changed, t))[0, 0].abs() > 1e-7
    assert moved[2:7, 2:7].any() and moved.sum() == moved[2:7, 2:7].sum()
    assert moved[2, 2] and moved[6, 6]


def test_copies_are_independent():
    model = DiT(8, 1, **TINY, learned_sigma=True)
    other = perturb(copy.deepcopy(model))
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([3])
    assert other.raw(x, t).any() and not model.raw(x, t).any()


PINNED = {
    "in-context": [-0.51171, -0.38954, 0.52897, 0.58833],
    "cross-attention": [-0.99345, -0.96175, 0.56207, 0.56784],
    "adaln": [-1.57914, -1.44596, -0.03214, 1.18905],
    "adaln-zero": [-1.85288, -0.62164, -0.22331, 0.99094],
}


@pytest.mark.parametrize("block", BLOCKS)
def test_behaviour_is_pinned(block):
    model = patterned(DiT(8, 2, **TINY, block=block, windows="3@tail", num_classes=2, learned_sigma=True))
    x = torch.sin(torch.arange(256.0)).view(2, 2, 8, 8)
    out = model.raw(x, torch.tensor([0, 700]), torch.tensor([0, 1]))
    found = [out[0, 0, 0, 0], out[0, 3, 7, 7], out[1, 1, 2, 5], out.square().mean().sqrt()]
    assert [round(v.item(), 5) for v in found] == pytest.approx(PINNED[block], abs=2e-5)


def test_time_code_and_positions():
    code = time_code(torch.tensor([0, 3]), 8)
    assert code[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert code[1, 0] == pytest.approx(torch.tensor(3.0).cos().item())  # frequency 1, cosine first
    assert code[1, 5] == pytest.approx(
        torch.tensor(0.3).sin().item(), abs=1e-6
    )  # second frequency 10000^(-1/4)
    assert time_code(torch.tensor([1]), 7).shape == (1, 7) and time_code(torch.tensor([1]), 7)[0, -1] == 0
    table = position_table((2, 3), 8)[0]
    assert table.shape == (6, 8)
    assert torch.equal(table[2, :4], table[5, :4]) and not torch.equal(table[2, 4:], table[5, 4:])
    assert table[1, 0] == pytest.approx(torch.tensor(1.0).sin().item())  # column 1: sine block first
