"""Measurements against closed forms and against clean-fid."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from bench.data import procedural
from bench.data.options import DatasetOptions
from bench.diffusion.schedule import make_schedule
from bench.metrics import attention, psnr
from bench.metrics.attention import AttentionOptions
from bench.metrics.numerics.attention_maps import locality
from bench.metrics.numerics.denoising import psnr_by_step
from bench.metrics.psnr import PsnrOptions
from bench.models.attention import AttentionCore, window_mask
from bench.support.errors import BenchError

GRID = make_schedule("linear", 1000).respace(50)


def fake_run(model, train, test, **more):
    """A run that holds these uint8 images, without files."""
    spec = types.SimpleNamespace(dataset="toy", name="toy")
    dataset = types.SimpleNamespace(test=test)
    return types.SimpleNamespace(
        spec=spec, dataset=dataset, model=model, device="cpu", schedule=make_schedule("linear", 1000),
        train_images=lambda n=None: train[:n], test_images=lambda n=None: test[:n], **more,
    )  # fmt: skip


class Memoriser(torch.nn.Module):
    """Exact posterior mean over the training images, as a noise prediction."""

    def __init__(self, images):
        super().__init__()
        self.images = (torch.from_numpy(images).permute(0, 3, 1, 2).double() / 127.5 - 1).flatten(1)

    def forward(self, x, t, y=None):
        abar = torch.from_numpy(make_schedule("linear", 1000).alphas_cumprod)[t].view(-1, 1)
        flat = x.double().flatten(1)
        logits = -((flat[:, None] - abar.sqrt()[:, None] * self.images) ** 2).sum(-1) / (2 * (1 - abar))
        x0 = logits.softmax(1) @ self.images
        return ((flat - abar.sqrt() * x0) / (1 - abar).sqrt()).view(x.shape).to(x.dtype)


def pool(count, seed, side=8):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def rows(found, metric, split=None):
    return [r["value"] for r in found.rows if r["metric"] == metric and split in (None, r["split"])]


def test_memoriser_has_the_ceiling_on_train_and_a_gap():
    train, test = pool(5, 0), pool(12, 1)
    found = psnr.measure(fake_run(Memoriser(train), train, test), PsnrOptions(images=12))
    ceiling = 10 * np.log10(12 * 255**2)
    assert abs(rows(found, "psnr", "train")[0] - ceiling) < 1e-6  # 58.9 dB: the rounding error of uint8
    assert rows(found, "psnr_gap_mean")[0] > 10
    assert found.arrays["train"].shape == (12, 50)  # N < K: images repeat
    assert not np.array_equal(
        found.arrays["train"][0, 40:], found.arrays["train"][5, 40:]
    )  # with fresh noise


def test_gaussian_field_meets_its_optimum():
    side, step = 16, 12
    spectrum = 4 * procedural.gaussian_spectrum(side)  # in [-1, 1] units
    row = DatasetOptions(title="x", resolution=side, channels=1, family="gaussian", train=1, test=1)
    fields = procedural.draw(row, 0, 200)[..., 0] * 2 - 1

    class Wiener(torch.nn.Module):
        def forward(self, x, t, y=None):
            abar = float(GRID.alphas_cumprod[step])
            gain = torch.from_numpy(np.sqrt(abar) * spectrum / (abar * spectrum + 1 - abar))
            x0 = torch.fft.ifft2(torch.fft.fft2(x) * gain).real
            return (x - abar**0.5 * x0) / (1 - abar) ** 0.5

    images = torch.from_numpy(fields)[:, None]
    found = psnr_by_step(Wiener(), GRID, images, (False,))[0, :, step]
    sigma2 = (1 - GRID.alphas_cumprod[step]) / GRID.alphas_cumprod[step]
    optimum = -10 * np.log10((spectrum * sigma2 / (spectrum + sigma2)).mean() / 4)
    assert abs(found.mean() - optimum) < 4 * found.std() / len(found) ** 0.5 + 0.01


def test_every_step_and_the_unclipped_estimate():
    train, test = pool(3, 0), pool(4, 1)
    options = PsnrOptions(images=4, steps="all", unclipped=True)
    run = fake_run(Memoriser(train), train, test)
    run.schedule = make_schedule("linear", 25)
    found = psnr.measure(run, options)
    assert found.arrays["test"].shape == found.arrays["test_unclipped"].shape == (4, 25)
    assert {r["protocol"] for r in found.rows if r["metric"] == "psnr_unclipped"} == {
        "images=4;steps=25;clip=false"
    }
    assert found.rows[0]["protocol"] == "images=4;steps=25;clip=true"
    np.testing.assert_allclose(
        rows(found, "psnr_unclipped", "test"), found.arrays["test_unclipped"].mean(0), rtol=1e-6
    )
    plain = psnr.measure(run, PsnrOptions(images=4, steps=25, clip=False))
    assert rows(found, "psnr_unclipped", "train") == rows(plain, "psnr", "train")
    assert rows(plain, "psnr_unclipped") == []


def test_noise_is_shared_and_the_gap_of_equal_pools_is_zero():
    images = pool(6, 0)
    found = psnr.measure(fake_run(Memoriser(pool(3, 9)), images, images), PsnrOptions(images=6, steps=5))
    assert np.array_equal(found.arrays["train"], found.arrays["test"])
    assert rows(found, "psnr_gap_signed_mean") == [0.0]


def test_locality_numbers():
    grid = (4, 4)
    uniform = torch.full((1, 1, 16, 16), 1 / 16)
    found = locality(uniform, grid)
    assert abs(found["attention_entropy"] - np.log(16)) < 1e-6
    assert (
        abs(found["attention_mass_w3"] - float(window_mask(grid, 3, 0, torch.device("cpu")).float().mean()))
        < 1e-6
    )
    assert found["attention_mass_w7"] == pytest.approx(1)
    alone = locality(torch.eye(16)[None, None], grid)
    assert (
        alone["attention_distance"] == 0
        and alone["attention_mass_w3"] == 1
        and alone["attention_entropy"] == 0
    )


class Attends(torch.nn.Module):
    """Two heads over a 4 x 4 grid with one extra token: the first sees all alike, the second mostly itself."""

    def __init__(self):
        super().__init__()
        self.core = AttentionCore((4, 4), extra=1, scale=1.0)

    def forward(self, x, t, y=None):
        place = torch.eye(17)[None, None].repeat(1, 2, 1, 1) * torch.tensor([0.0, 10.0]).view(1, 2, 1, 1)
        self.core(place, place, place)
        return x


def test_attention_by_head_and_averaged():
    test = pool(3, 0, 4)
    run = fake_run(Attends(), test, test)
    options = AttentionOptions(images=2, step_indices=[1, 3], steps=5, heads="each")
    found = attention.measure(run, options)
    assert found.arrays["maps"].shape == (1, 16, 16) and found.arrays["heads_1"].shape == (2, 16, 16)
    np.testing.assert_allclose(found.arrays["heads_1"][0], 1 / 16, rtol=1e-6)
    np.testing.assert_allclose(found.arrays["heads_1"][1], np.eye(16), atol=1e-6)
    np.testing.assert_allclose(found.arrays["maps"][0], found.arrays["heads_1"].mean(0), atol=1e-7)
    first, second = rows(found, "attention_head_entropy")
    assert first == pytest.approx(np.log(16)) and second == pytest.approx(0, abs=1e-6)
    assert rows(found, "attention_entropy") == [pytest.approx(first / 2, abs=1e-6)]
    assert {r["protocol"] for r in found.rows if r["metric"] == "attention_head_distance"} == {
        f"images=2;step_indices=1,3;average=images,steps;head={head}" for head in (0, 1)
    }
    plain = attention.measure(run, AttentionOptions(images=2, step_indices=[1, 3], steps=5))
    assert rows(plain, "attention_distance") == rows(found, "attention_distance")
    assert rows(plain, "attention_head_distance") == [] and "heads_1" not in plain.arrays
    np.testing.assert_array_equal(plain.arrays["maps"], found.arrays["maps"])
    with pytest.raises(
        BenchError, match="attention.token = 16 is beyond the 16 tokens of the network; lower"
    ):
        attention.measure(run, AttentionOptions(token=16, images=1))
