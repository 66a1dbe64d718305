"""EDM's networks equal the official ones, from files under the official names; stored outputs: fixtures/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parity import error, read

from bench.diffusion.schedule import make_schedule
from bench.models.costs import parameters
from bench.models.foreign import renamed
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.errors import BenchError

FORMS = {"positional": "ddpm++", "fourier": "ncsn++"}


def official(name: str) -> tuple[dict, dict, dict]:
    """Return (options here, weights, arrays) of a stored official network."""
    config, weights, arrays = read(Path(__file__).parent, name, "fixtures")
    given = config["arguments"]
    return {
        "form": FORMS[given["embedding_type"]],
        "width": given["model_channels"],
        "blocks": given["num_blocks"],
        "multipliers": given["channel_mult"],
        "attention": [given["img_resolution"] // side for side in given["attn_resolutions"]],
        "num_classes": given["label_dim"],
        "label_dropout": 0.1 if given["label_dim"] else 0.0,
    }, weights, arrays  # fmt: skip


def network(name: str, options: dict, weights: dict) -> torch.nn.Module:
    model = build(ModelSpec(name, "edm", options), 16, 3).eval()
    model.load_state_dict(renamed(weights, model, name))
    return model


@pytest.mark.parametrize("name", ["edm_ddpmpp", "edm_ncsnpp"])
@torch.no_grad()
def test_equals_the_official_network(name):
    """The UNet itself, the noise prediction where theirs is exact enough, and the denoised image at every level."""
    options, weights, arrays = official(name)
    model, schedule = network(name, options, weights), make_schedule("linear")
    x, t, y, sigma = arrays["x"], arrays["t"], arrays.get("y"), arrays["sigma"].double()[:, None, None, None]
    scaled = x.double() / schedule.at(schedule.alphas_cumprod**0.5, t, x.double())
    u = (scaled / (sigma**2 + 0.25).sqrt()).float()
    assert error(model.unet(u, arrays["sigma"].log() / 4, y), arrays["unet"]) < 1e-5
    eps = model(x, t, y)
    theirs = (scaled - arrays["denoised"]) / sigma
    assert error(eps[1:], theirs[1:]) < 1e-5
    for one, other, level in zip(scaled - sigma * eps, arrays["denoised"], sigma):
        assert error(one, other) < 1e-5 * max(
            1, level / 10
        )  # single precision: 1e-7 of eps is 1e-7 sigma of the image


def test_the_null_label_is_the_label_that_is_not_given():
    options, weights, arrays = official("edm_ddpmpp")
    model = network("net", options, weights)
    x, t = arrays["x"], arrays["t"]
    assert torch.equal(model(x, t), model(x, t, torch.full_like(t, 3)))
    assert not torch.equal(model(x, t), model(x, t, torch.zeros_like(t)))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("edm-32-ddpmpp", 55_733_891 - 9 * 128),
        ("edm-32-ncsnpp", 56_397_827 - 9 * 256),
        ("edm-64-ddpmpp", 61_805_571 - 9 * 128),
        ("edm-64-ncsnpp", 62_761_091 - 9 * 256),
    ],
)
def test_presets_have_the_official_numbers_of_parameters(name, count):
    """Without the map of augmentation labels, which is not here."""
    preset = load_models()[name]
    with torch.device("meta"):
        model = build(ModelSpec(name, preset.family, preset.options), preset.image_size, preset.channels)
    assert parameters(model) == count


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"multipliers": [1, 2, 2, 2, 2, 2]}, "multiple of 32"),
        ({"attention": [16], "width": 8}, "factor 16, which 3 levels do not reach"),
        ({"width": 2}, "width must be at least 4"),
        ({"width": 131}, "131 channels cannot be normalised"),
        ({"label_dropout": 0.1}, "needs num_classes"),
        ({"form": "adm"}, "'form' must be one of 'ddpm\\+\\+', 'ncsn\\+\\+'"),
    ],
)
def test_impossible_options_are_one_sentence(options, words):
    with pytest.raises(BenchError, match=words):
        build(ModelSpec("x", "edm", options), 16, 3)


BAD = {
    "a missing name": (lambda w: w.pop("model.dec.8x8_in0.qkv.weight"), "lacks 'middle.0.attention.qkv.weight' \\(1 of"),
    "another shape": (
        lambda w: w.update({"model.enc.16x16_conv.weight": torch.zeros(8, 1, 3, 3)}),
        "'model.enc.16x16_conv.weight' has the shape",
    ),
    "another filter": (
        lambda w: w.update({"model.enc.8x8_down.skip.resample_filter": torch.full((1, 1, 4, 4), 1 / 16)}),
        "'model.enc.8x8_down.skip.resample_filter' has the shape",
    ),
    "another form": (lambda w: w.update({"model.map_noise.freqs": torch.ones(8)}), "'model.map_noise.freqs' has the shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_weights_of_another_network_are_one_sentence(case):
    change, words = BAD[case]
    options, weights, _ = official("edm_ddpmpp")
    change(weights)
    with pytest.raises(BenchError, match=words):
        network("net", options, weights)
