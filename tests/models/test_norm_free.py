"""The norm-free networks commute with shifts where their padding does, and see as far as they say; the residual MLP."""

from __future__ import annotations

import pytest
import torch

from bench.models import conformance
from bench.models.costs import parameters
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.errors import BenchError

PRESETS = load_models()
SMALL = {"nf-unet": {"width": 8, "levels": 3}, "nf-resnet": {"width": 16, "depth": 3}}


def network(family, side=16, channels=1, **options):
    torch.manual_seed(0)
    return build(ModelSpec(family, family, SMALL.get(family, {}) | options), side, channels).eval()


@pytest.mark.parametrize("family", SMALL)
@torch.no_grad()
def test_circular_padding_commutes_with_shifts_and_zeros_do_not(family):
    """A UNet of three levels commutes with shifts by whole cells of its coarsest grid: 4 pixels."""
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([0, 700])
    for padding, commutes in (("circular", True), ("zeros", False)):
        model = network(family, padding=padding)
        moved = model(x.roll((4, 8), (2, 3)), t).roll((-4, -8), (2, 3))
        assert torch.allclose(moved, model(x, t), atol=1e-5) == commutes


@torch.no_grad()
def test_the_resnet_sees_what_it_says():
    """Two convolutions and ``depth`` more: 2 (3 + 2) + 1 = 11 pixels across; 17 in the published size."""
    model, t = network("nf-resnet"), torch.tensor([300])
    x = torch.randn(1, 1, 16, 16)
    changed = x.clone()
    changed[0, 0, 8, 8] += 1
    moved = (model(x, t) - model(changed, t)).abs()[0, 0] > 0
    assert moved[3:14, 3:14].sum() == moved.sum() > 60 and moved[3].any() and moved[13].any()
    with torch.device("meta"):
        published = build(ModelSpec("x", "nf-resnet", {}), 32, 3)
    assert 2 * (len(published.convs) + 2) + 1 == 17
    assert [block.second.out_channels for block in network("nf-unet", 32, 3, width=64).down] == [64, 128, 256]


@pytest.mark.parametrize("family", [*SMALL, "mlp"])
def test_classes_conform(family):
    side = 1 if family == "mlp" else 8
    options = SMALL.get(family, {"width": 16}) | {"num_classes": 3, "label_dropout": 0.1}
    spec = ModelSpec(family, family, options)
    results = conformance.run(lambda: build(spec, side, 5), side, 5)
    assert not [r for r in results if r.status == "fail"], results


def test_the_mlp_has_the_published_size_and_takes_vectors():
    preset = PRESETS["mlp-8"]
    model = build(ModelSpec("mlp-8", preset.family, preset.options), preset.image_size, preset.channels)
    assert parameters(model) == 102_024
    assert model(torch.randn(4, 8, 1, 1), torch.tensor([0, 1, 500, 999])).shape == (4, 8, 1, 1)


@pytest.mark.parametrize("name", ["dit-t16", "bf-cnn-t16", "nf-resnet-t16", "local-score"])
def test_vectors_are_refused_by_families_for_images(name):
    preset = PRESETS[name]
    with pytest.raises(BenchError, match=r"is for images, not for vectors.*are for mlp, identity"):
        build(ModelSpec(name, preset.family, preset.options), 1, 8)


@pytest.mark.parametrize(
    ("family", "options", "side", "words"),
    [
        ("nf-resnet", {"width": 12}, 8, "'width' must be a multiple of 8 from 16 on, not 12"),
        ("nf-unet", {"levels": 4}, 12, "multiple of 8, not 12"),
        ("nf-unet", {"padding": "same"}, 8, "one of 'zeros', 'circular', not 'same'"),
        ("mlp", {"label_dropout": 0.1}, 1, "needs num_classes"),
    ],
)
def test_impossible_options_are_one_sentence(family, options, side, words):
    with pytest.raises(BenchError, match=words):
        network(family, side, **options)
