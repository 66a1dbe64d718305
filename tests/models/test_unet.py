"""The UNets equal the official ones, and the published sizes are met to the printed digits."""

from __future__ import annotations

import pytest
import torch
from parity import error, load_in_order, read

from bench.models.registry import build
from bench.options import ModelSpec


def reference_options(config: dict) -> tuple[str, dict]:
    """Translate the official constructor's arguments."""
    given = config["arguments"]
    common = {
        "width": given["model_channels"],
        "blocks": given["num_res_blocks"],
        "multipliers": list(given["channel_mult"]),
        "attention": list(given["attention_resolutions"]),
        "heads": given.get("num_heads", 1),
        "scale_shift": given["use_scale_shift_norm"],
        "learned_sigma": given["out_channels"] == 2 * given["in_channels"],
        "num_classes": given.get("num_classes") or 0,
    }
    if config["kind"] == "improved_diffusion_unet":
        return "unet", common
    head_width = given.get("num_head_channels", -1)
    return "adm", common | {
        "head_width": None if head_width == -1 else head_width,
        "residual_resampling": given.get("resblock_updown", False),
        "thirds": given.get("use_new_attention_order", False),
    }


FIXTURES = [
    "improved_diffusion_unet_attn2",
    "improved_diffusion_unet_noattn",
    "improved_diffusion_unet_w64_add",
    "guided_diffusion_unet_updown",
    "guided_diffusion_unet_w64",
]


@pytest.mark.parametrize("name", FIXTURES)
def test_equals_the_official_network(fixtures, name):
    config, weights, arrays = read(fixtures, name)
    family, options = reference_options(config)
    x = arrays["x"]
    model = build(ModelSpec(name, family, options), x.shape[-1], x.shape[1]).eval()
    load_in_order(model, weights)
    with torch.no_grad():
        out = model.raw(x, arrays["t"], arrays.get("y"))
    assert error(out, arrays["out"]) < 1e-5


def parameters(family: str, size: int, channels: int, **options) -> int:
    with torch.device("meta"):
        model = build(ModelSpec("x", family, options), size, channels)
    return sum(p.numel() for p in model.parameters())


def test_published_sizes():
    an2024 = {"width": 128, "blocks": 3, "multipliers": [1, 2, 3, 4]}
    assert parameters("unet", 32, 3, **an2024) == 109_554_051  # 109.55M in the paper's Fig. 3
    cifar = {
        "width": 128,
        "blocks": 3,
        "multipliers": [1, 2, 2, 2],
        "attention": [2, 4],
        "learned_sigma": True,
    }
    assert round(parameters("unet", 32, 3, **cifar) / 1e6, 3) == 52.546
    adm64 = {
        "width": 192,
        "blocks": 3,
        "multipliers": [1, 2, 3, 4],
        "attention": [2, 4, 8],
        "num_classes": 1000,
    }
    assert round(parameters("adm", 64, 3, **adm64) / 1e6, 3) == 295.904


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({"multipliers": [1, 2, 2]}, 18, "multiple of 4"),
        ({"width": 40}, 16, "groups do not divide"),
        ({"heads": 3}, 16, "heads do not divide"),
    ],
)
def test_impossible_options_are_one_sentence(options, size, words):
    from bench.errors import BenchError

    with pytest.raises(BenchError, match=words):
        build(ModelSpec("x", "unet", options), size, 3)
