"""PSNR, its gap, and the skill over the linear filter, against closed forms and published numbers."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import optima, procedural
from bench.data.options import DatasetOptions
from bench.diffusion.schedule import make_schedule
from bench.metrics import along, psnr
from bench.metrics.numerics import denoising, parts, wiener
from bench.metrics.numerics.denoising import psnr_by_step
from bench.metrics.psnr import PsnrOptions
from bench.models.controls import Wiener
from bench.support.errors import BenchError

GRID = make_schedule("linear", 1000).respace(50)
SCHEDULE = make_schedule("linear", 1000)


def fake_run(model, train, test, validation=(), made=None):
    """A run that holds these uint8 images, without files."""
    _, side, _, channels = test.shape
    manifest = {"resolution": side, "channels": channels, "made": made or {"resolution": side}}
    return types.SimpleNamespace(
        dataset=types.SimpleNamespace(train=train, validation=validation, manifest=manifest),
        model=model, device="cpu", schedule=SCHEDULE, image_size=side, channels=channels,
        train_images=lambda n=None: train[:n], validation_images=lambda n=None: validation[:n],
        test_images=lambda n=None: test[:n],
    )  # fmt: skip


def measure(run, options):
    return psnr.measure(run, options, wiener.make(run.dataset, "wiener", "cpu"))


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
    found = measure(fake_run(Memoriser(train), train, test), PsnrOptions(images=12))
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

    class Fourier(torch.nn.Module):
        def forward(self, x, t, y=None):
            abar = float(GRID.alphas_cumprod[step])
            gain = torch.from_numpy(np.sqrt(abar) * spectrum / (abar * spectrum + 1 - abar))
            x0 = torch.fft.ifft2(torch.fft.fft2(x) * gain).real
            return (x - abar**0.5 * x0) / (1 - abar) ** 0.5

    images = torch.from_numpy(fields)[:, None]
    found = psnr_by_step([Fourier()], GRID, [images], (False,))[0, 0, 0, :, step]
    sigma2 = (1 - GRID.alphas_cumprod[step]) / GRID.alphas_cumprod[step]
    optimum = -10 * np.log10((spectrum * sigma2 / (spectrum + sigma2)).mean() / 4)
    assert abs(found.mean() - optimum) < 4 * found.std() / len(found) ** 0.5 + 0.01


def test_every_step_and_the_unclipped_estimate():
    train, test = pool(3, 0), pool(4, 1)
    options = PsnrOptions(images=4, steps="all", unclipped=True)
    run = fake_run(Memoriser(train), train, test)
    run.schedule = make_schedule("linear", 25)
    found = measure(run, options)
    assert found.arrays["test"].shape == found.arrays["test_unclipped"].shape == (4, 25)
    assert {r["protocol"] for r in found.rows if r["metric"] == "psnr_unclipped"} == {
        "images=4;steps=25;clip=false"
    }
    assert found.rows[0]["protocol"] == "images=4;steps=25;clip=true"
    np.testing.assert_allclose(
        rows(found, "psnr_unclipped", "test"), found.arrays["test_unclipped"].mean(0), rtol=1e-6
    )
    plain = measure(run, PsnrOptions(images=4, steps=25, clip=False))
    assert rows(found, "psnr_unclipped", "train") == rows(plain, "psnr", "train")
    assert rows(plain, "psnr_unclipped") == []


def test_noise_is_shared_and_the_gap_of_equal_pools_is_zero():
    images = pool(6, 0)
    found = measure(fake_run(Memoriser(pool(3, 9)), images, images), PsnrOptions(images=6, steps=5))
    assert np.array_equal(found.arrays["train"], found.arrays["test"])
    assert rows(found, "psnr_gap_signed_mean") == [0.0]


def test_the_pools_own_filter_has_no_skill_and_every_split_has_rows():
    train, test, validation = pool(40, 0), pool(6, 1), pool(6, 2)
    run = fake_run(None, train, test, validation)
    run.model = wiener.load(wiener.make(run.dataset, "wiener", "cpu"), 8, 1, SCHEDULE, "cpu")
    found = measure(run, PsnrOptions(images=6, steps=10))
    for split in ("train", "validation", "test"):
        assert rows(found, "skill", split) == [0.0] * 10 and rows(found, "skill_band", split) == [0.0] * 5
        assert rows(found, "psnr_mean", split) == pytest.approx(rows(found, "linear_psnr_mean", split))
        curve, fifths = rows(found, "psnr", split), rows(found, "psnr_band", split)
        np.testing.assert_allclose(fifths, np.reshape(curve, (5, 2)).mean(1))
    assert rows(found, "psnr_mean", "train") > rows(found, "psnr_mean", "test")
    few = measure(fake_run(Memoriser(train), train, test), PsnrOptions(images=6, steps=3))
    assert len(rows(few, "psnr_band", "test")) == 3 and not rows(few, "psnr_mean", "validation")
    assert rows(few, "skill", "train")[0] > 0.8


class Optimal(torch.nn.Module):
    """The optimal denoiser of the sparse Haar field."""

    def forward(self, x, t, y=None):
        abar = float(SCHEDULE.alphas_cumprod[t[0]])
        noisy = (x[:, 0].double().numpy() / abar**0.5 + 1) / 2
        x0 = torch.from_numpy(optima.haar_denoise(noisy, ((1 - abar) / abar) ** 0.5 / 2)[0] * 2 - 1)
        return (x - abar**0.5 * x0[:, None]) / (1 - abar) ** 0.5


def test_the_optimal_denoiser_has_the_whole_skill_of_the_optimum_and_the_linear_filter_none():
    row = DatasetOptions(title="x", resolution=8, channels=1, family="haar", train=4000, test=150)
    train, test = (
        procedural.round_to_uint8(procedural.draw(row, first, count))
        for first, count in ((0, 4000), (9000, 150))
    )
    run = fake_run(Optimal(), train, test, made=vars(row))
    options = PsnrOptions(images=150, steps=10)
    found = measure(run, options)
    assert rows(found, "skill_mean", "test")[0] > 0.05
    assert rows(found, "optimum_share_mean", "test")[0] == pytest.approx(1, abs=0.1)
    assert not rows(found, "optimum_share_mean", "train")
    run.model = wiener.load(wiener.make(run.dataset, "wiener", "cpu"), 8, 1, SCHEDULE, "cpu")
    assert rows(measure(run, options), "optimum_share_mean", "test") == [0.0]


def test_a_pool_that_is_too_small_is_known_before_anything_is_trained():
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=9, validation=3, test=5)
    run = types.SimpleNamespace(dataset="toy")
    said = psnr.MEASUREMENT.problem(PsnrOptions(images=4), run, {"toy": row})
    assert said == "psnr.images is 4, toy has 3 validation images; lower it"
    assert psnr.MEASUREMENT.problem(PsnrOptions(images=3), run, {"toy": row}) is None


def test_the_gap_is_interpolated_where_train_psnr_reaches_a_whole_decibel():
    train, gap = np.array([9.5, 11.5, 11.2, 12.0]), np.array([0.0, 1.0, 3.0, 2.0])
    found = along.gap_at_whole_decibels(train, gap)
    assert found == pytest.approx({10: 0.25, 11: 0.75, 12: 2.0})
    assert along.gap_at_whole_decibels(np.array([9.2, 9.4]), np.array([1.0, 2.0])) == {}


class Short(torch.nn.Module):
    """A network that takes three images at a time on a small GPU."""

    def forward(self, x, t, y=None):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return 0 * x


def test_a_gpu_that_is_too_small_gets_fewer_images_at_a_time(capsys):
    images, model = denoising.on_device(pool(10, 0), "cpu"), Short()
    model.most = 3
    found = psnr_by_step([model], GRID.respace(2), [images])
    model.most = 10
    assert np.array_equal(found, psnr_by_step([model], GRID.respace(2), [images]))
    assert "out of GPU memory with 10 images at a time; continuing with 5" in capsys.readouterr().err
    model.most = 0
    with pytest.raises(BenchError, match="too small for 1 image"):
        psnr_by_step([model], GRID.respace(2), [images])
    seen = []
    parts.in_parts(5, 2, lambda first, count: seen.append((first, count)))
    assert seen == [(0, 2), (2, 2), (4, 1)]


# Squared error over 3072 values in [0, 1] of the linear filter of 10,000 images, by sigma: train and test images of
# CIFAR-10 (a public held-out study of linear and patch denoisers, 2026)
CIFAR = {0.127: (7.900, 8.359), 0.452: (28.552, 29.128), 1.61: (72.196, 72.461), 5.0: (130.302, 129.968)}


@pytest.mark.real
def test_the_linear_filter_of_cifar10_has_its_published_errors(fixtures):
    folder = fixtures.parent / "data"
    if not (folder / "cifar10_train20k_32.webp").is_file():
        pytest.skip(f"no CIFAR-10 in {folder}")

    def images(name, count):
        pixels = np.asarray(Image.open(folder / name).convert("RGB"))
        tiles = pixels.reshape(pixels.shape[0] // 32, 32, pixels.shape[1] // 32, 32, 3).transpose(
            0, 2, 1, 3, 4
        )
        return np.ascontiguousarray(tiles.reshape(-1, 32, 32, 3)[:count])

    train = images("cifar10_train20k_32.webp", 10_000)
    dataset = types.SimpleNamespace(train=train, manifest={"resolution": 32, "channels": 3})
    control = wiener.load(wiener.make(dataset, "wiener", "cpu"), 32, 3, SCHEDULE, "cpu")
    assert isinstance(control, Wiener)
    for which, pool in enumerate((train[:4000], images("cifar10_test4k_32.webp", 4000))):
        x0 = denoising.on_device(pool, "cpu")
        for sigma, expected in CIFAR.items():
            abar = 1 / (1 + 4 * sigma**2)
            noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
            noisy = abar**0.5 * x0 + (1 - abar) ** 0.5 * noise
            t = torch.full((len(x0), 1, 1, 1), abar, dtype=torch.float64)
            error = ((control.estimate(noisy, t, t) - x0) / 2).double().square().flatten(1).sum(1).mean()
            assert float(error) == pytest.approx(expected[which], rel=0.01)
