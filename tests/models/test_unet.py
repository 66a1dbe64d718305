"""The UNets equal the official ones, and the published sizes are met to the printed digits."""

from __future__ import annotations

import pytest
import torch
from parity import error, read

from bench.models.costs import macs, parameters
from bench.models.foreign import renamed
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.models.unet import Resample
from bench.suite.config import load_models

PRESETS = load_models()


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
    model.load_state_dict(renamed(dict(sorted(weights.items())), model, name))
    with torch.no_grad():
        out = model.raw(x, arrays["t"], arrays.get("y"))
    assert error(out, arrays["out"]) < 1e-5


@pytest.mark.parametrize(
    ("name", "count", "gmac"),
    [
        ("unet-an2024", 109.554, 9.461),  # 109.55M in the paper's Fig. 3
        ("unet-iddpm-cifar", 52.546, 8.387),
        ("unet-iddpm-imagenet64", 121.064, 39.736),
        ("unet-iddpm-imagenet64-class", 273.049, 89.086),
        ("unet-iddpm-lsun256", 113.677, 248.740),
        ("adm-imagenet64", 295.904, 109.678),  # 296M; 110 Gflops in the DiT paper's table
        ("adm-imagenet128", 421.530, 306.928),  # 422M, 307
        ("adm-imagenet256", 553.838, 1119.833),  # 554M, 1120
        ("adm-imagenet512", 558.998, 1982.335),  # 559M, 1983: that paper's tool also counts norms
        ("adm-lsun256", 552.814, 1119.833),
        ("unet-s32", 4.750, 1.077),
        ("unet-t32", 2.491, 0.430),
        ("adm-s32", 5.661, 1.301),
        ("adm-t32", 2.007, 0.479),
    ],
)
def test_published_sizes(name, count, gmac):
    preset = PRESETS[name]
    with torch.device("meta"):
        model = build(ModelSpec(name, preset.family, preset.options), preset.image_size, preset.channels)
    assert round(parameters(model) / 1e6, 3) == count
    assert round(macs(model, preset.image_size, preset.channels).total / 1e9, 3) == gmac


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({"multipliers": [1, 2, 2]}, 18, "multiple of 4"),
        ({"width": 40}, 16, "groups do not divide"),
        ({"heads": 3}, 16, "heads do not divide"),
        (
            {"attention": [16]},
            16,
            "factor 16, which 4 levels do not reach: give factors of 1 to 8, not image sides",
        ),
        ({"attention": [3]}, 16, "factor 3, which"),
        ({"multipliers": []}, 16, "'multipliers' must be a list of numbers above 0, one per level"),
    ],
)
def test_impossible_options_are_one_sentence(options, size, words):
    from bench.support.errors import BenchError

    with pytest.raises(BenchError, match=words):
        build(ModelSpec("x", "unet", options), size, 3)


def test_plain_resampling_is_mean_and_repetition():
    """``conv_resample: false``: no parameters between levels, but for the two convolutions all else stays."""
    options = {"width": 8, "blocks": 1, "multipliers": [1, 2], "groups": 4, "heads": 2}
    plain, by_conv = (
        build(ModelSpec("x", "unet", options | {"conv_resample": conv}), 8, 1) for conv in (False, True)
    )
    assert parameters(by_conv) - parameters(plain) == 9 * (8 * 8 + 16 * 16) + 8 + 16
    down = next(part for stage in plain.down for part in stage.parts if isinstance(part, Resample))
    x = torch.arange(4.0).view(1, 1, 2, 2)
    assert down(x).item() == 1.5 and torch.equal(Resample(1, "up", False)(down(x)), torch.full_like(x, 1.5))
