"""The bias-free denoisers equal the official one, are homogeneous, and keep the published sizes."""

from __future__ import annotations

import re

import pytest
import torch
from parity import error, read
from torch import Tensor, nn
from torch.func import jacrev, jvp

from bench.diffusion.schedule import make_schedule
from bench.models.bias_free import BiasFreeNorm, BlindDenoiser
from bench.models.costs import macs, parameters
from bench.models.registry import build, check_schedule
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.errors import BenchError

FAMILIES = ["bf-unet", "bf-cnn"]


def small(family: str, channels: int = 1, side: int = 8, **options):
    """A small network whose gains and deviations are not all alike, in evaluation mode."""
    torch.manual_seed(0)
    model = build(ModelSpec("x", family, {"width": 4, **options}), side, channels)
    for module in model.modules():
        if isinstance(module, BiasFreeNorm):
            torch.nn.init.normal_(module.gain, mean=1.0, std=0.3)
            torch.nn.init.uniform_(module.running_deviation, 0.5, 1.5)
    return model.eval().double()


def named_as_ours(weights: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Translate the official names; its decoder is numbered from the top, ours runs upwards."""

    def rename(name: str) -> str:
        name = name.replace("gammas", "gain").replace("running_sd", "running_deviation")
        name = re.sub(r"^encoder", "down", name).replace("mid_block", "middle")
        name = re.sub(r"^decoder\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.layers", name)
        return re.sub(r"^upsample\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)

    flat = {
        name: v.flatten() if name.endswith(("gammas", "running_sd")) else v for name, v in weights.items()
    }
    return {rename(name): value for name, value in flat.items()}


@pytest.fixture
def reference(fixtures):
    config, weights, arrays = read(fixtures, "kadkhodaie_unet_b2")
    given = config["arguments"]
    options = {"width": given["num_kernels"], "levels": given["num_blocks"]}
    wrapped = build(ModelSpec("x", "bf-unet", options), arrays["x"].shape[-1], given["num_channels"])
    residual = wrapped.residual
    residual.load_state_dict(named_as_ours(weights, given["num_blocks"]))
    return residual.eval(), arrays


@torch.no_grad()
def test_equals_the_official_network(reference):
    residual, arrays = reference
    assert error(residual(arrays["x"]), arrays["out"]) < 1e-5
    for scale, out in zip(arrays["homogeneity/scale"], arrays["homogeneity/out"], strict=True):
        assert error(residual(scale * arrays["x"]), out) < 1e-5


def test_equals_the_official_jacobian(reference):
    residual, arrays = reference
    x = arrays["x"][:1]
    jacobian = jacrev(residual.requires_grad_(False))(x).reshape(x.numel(), x.numel())
    assert error(jacobian, arrays["jacobian"]) < 1e-5
    assert error(jacobian @ x.flatten(), arrays["out"][0].flatten()) < 1e-5


@torch.no_grad()
def test_equals_the_official_network_in_training(reference):
    residual, arrays = reference
    assert error(residual.train()(arrays["x"]), arrays["train_mode/out"]) < 1e-5
    after = {
        k.removeprefix("train_mode/buffers_after/"): v for k, v in arrays.items() if "buffers_after" in k
    }
    for name, value in named_as_ours(after, 2).items():
        assert error(residual.state_dict()[name], value) < 1e-5, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_residual_is_its_own_linearisation(family, channels):
    """J(x) x = f(x) and f(a x) = a f(x); a bias of any kind breaks both."""
    residual = small(family, channels).residual
    x = torch.randn(2, channels, 8, 8, dtype=torch.float64)
    out, along = jvp(residual, (x,), (x,))
    assert error(along, out) < 1e-12
    assert error(residual(3 * x), 3 * out) < 1e-12
    assert error(residual(-x), -out) > 1e-3, "only for positive scales"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_wrapper_is_the_denoiser_of_unit_images(family, schedule):
    """eps = f(image in [0, 1] plus noise) / sigma, with sigma as systems of [0, 1] images count it."""
    model = small(family, schedule=schedule)
    kept = torch.tensor(make_schedule(schedule).alphas_cumprod)
    t = torch.tensor([0, 26, 258, 999 if schedule == "linear" else 960])
    kept = kept[t].view(-1, 1, 1, 1)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    sigma = 0.5 * (1 - kept).sqrt() / kept.sqrt()
    expected = model.residual((x / kept.sqrt() + 1) / 2) / sigma
    assert error(model(x, t), expected) < 1e-5
    assert torch.equal(model(x[:1], t[:1]), model(x[:1], t[:1], torch.tensor([3]))), "labels are ignored"


class Perfect(nn.Module):
    """The residual network that knows the clean image behind its scaled input."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, x: Tensor) -> Tensor:
        return x - self.clean


def test_a_perfect_residual_gives_the_noise():
    clean = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    noise, t = torch.randn_like(clean), torch.tensor([40, 700])
    kept = torch.tensor(make_schedule("linear").alphas_cumprod)[t].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * (2 * clean - 1) + (1 - kept).sqrt() * noise
    model = BlindDenoiser(Perfect(2 * kept.sqrt() * clean), 1, "linear", 1000)
    assert error(model(noisy, t), noise) < 1e-5


def test_published_sizes():
    """Kadkhodaie et al.: 360k, 1.8m, 7.6m, 31m parameters; the counts of the released network."""
    expected = {
        "bf-unet-20": (366_080, 0.070),
        "bf-unet-40": (1_825_024, 0.559),
        "bf-unet-80": (7_659_264, 3.350),
        "bf-unet-160": (30_993_152, 17.86),
    }
    presets = load_models()
    for name, (count, gmac) in expected.items():
        preset = presets[name]
        with torch.device("meta"):
            model = build(ModelSpec(name, preset.family, preset.options), preset.image_size, preset.channels)
        assert parameters(model) == count
        assert macs(model, preset.image_size, preset.channels).total / 1e9 == pytest.approx(gmac, abs=5e-3)


def test_bf_cnn_has_no_constant_and_the_stated_field():
    model = small("bf-cnn", depth=5, side=16)
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.residual(x)[0, 0, 8, 8], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    assert rows.min() == 8 - 5 and rows.max() == 8 + 5  # 2 * 5 + 1 pixels


@pytest.mark.parametrize(("levels", "side"), [(1, 2), (1, 6), (3, 8)])
def test_smallest_sizes(levels, side):
    model = small("bf-unet", side=side, levels=levels, width=1)
    x = torch.randn(1, 1, side, side, dtype=torch.float64)
    assert model(x, torch.tensor([5])).shape == x.shape


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("bf-unet", {"levels": 3}, "multiple of 8, not 12"),
        ("bf-unet", {"levels": 0}, "'levels' must be a whole number of at least 1"),
        ("bf-unet", {"schedule": "quadratic"}, "one of 'linear', 'cosine'"),
        ("bf-unet", {"timesteps": 0}, "'timesteps' must be a whole number of at least 1"),
        ("bf-cnn", {"depth": 1}, "'depth' must be a whole number of at least 2"),
    ],
)
def test_impossible_options_are_one_sentence(family, options, words):
    with pytest.raises(BenchError, match=words):
        build(ModelSpec("x", family, options), 12, 1)


def test_a_training_with_another_schedule_is_refused():
    spec = ModelSpec("mine", "bf-cnn", {"depth": 2})
    model = build(spec, 8, 1)
    check_schedule(spec, model, "linear", 1000)
    check_schedule(spec, torch.nn.Identity(), "cosine", 1000)
    with pytest.raises(
        BenchError, match="'mine' is built for the linear schedule.*set its options schedule: cosine"
    ):
        check_schedule(spec, model, "cosine", 1000)


def test_an_image_that_cannot_be_halved():
    with pytest.raises(ValueError, match="multiples of 4, not .10, 10."):
        small("bf-unet")(torch.zeros(1, 1, 10, 10, dtype=torch.float64), torch.tensor([0]))
