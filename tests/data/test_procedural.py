"""The procedural families against the closed forms and the stated tables."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.data import optima, procedural
from bench.data.options import FAMILIES, VECTORS, DatasetOptions

SIGMAS = (1, 0.5, 0.2, 0.1, 0.05)


def row(family, side=16, channels=1, **more):
    return DatasetOptions(
        title="x", resolution=side, channels=channels, family=family, train=1, test=1, **more
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(VECTORS)))
def test_image_i_depends_on_i_alone(family, channels):
    options = row(family, 8, channels)
    six = procedural.draw(options, 0, 6)
    assert six.shape == (6, 8, 8, channels) and six.dtype == np.float64
    assert np.array_equal(six[2:5], procedural.draw(options, 2, 3))
    assert len({image.tobytes() for image in six}) == 6
    assert not np.array_equal(six, procedural.draw(row(family, 8, channels, seed=1), 0, 6))


@pytest.mark.parametrize("side", [5, 17])
@pytest.mark.parametrize("family", ["gaussian", "disks", "contours"])
def test_any_resolution(family, side):
    assert np.isfinite(procedural.draw(row(family, side), 0, 2)).all()


def test_first_channel_of_a_colour_image_is_the_grey_image():
    for family in ("gaussian", "haar", "disks"):
        grey, colour = (procedural.draw(row(family, 16, c), 0, 2) for c in (1, 3))
        np.testing.assert_array_equal(colour[..., :1], grey)
        assert not np.array_equal(colour[..., 0], colour[..., 1])


@pytest.mark.parametrize(
    ("family", "digest"),
    [
        ("gaussian", "fd12645296277ff3"),
        ("haar", "3a537d3c869f3266"),
        ("disks", "6546e7a00faaebdd"),
        ("contours", "7e7fba65189ff649"),
    ],
)
def test_rounded_images_are_the_same_everywhere(family, digest):
    images = procedural.round_to_uint8(procedural.draw(row(family), 0, 20))
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("beta", "psnr", "trace"),
    [
        (2, (14.974, 16.167, 18.849, 22.136, 26.735), (32.6, 99.0, 333.7, 626.2, 868.7)),
        (3, (16.677, 18.620, 21.749, 24.632, 28.249), (22.0, 56.3, 171.1, 352.5, 613.0)),
    ],
)
def test_gaussian_optimum(beta, psnr, trace):
    for sigma, expected, total in zip(SIGMAS, psnr, trace):
        assert optima.psnr(optima.gaussian_error(32, sigma, beta)) == pytest.approx(expected, abs=6e-4)
        assert optima.gaussian_gains(32, sigma, beta).sum() == pytest.approx(total, abs=0.06)


def test_haar_optimum():
    best = (19.094, 21.443, 25.139, 28.676, 33.562)
    linear = (19.047, 21.204, 24.239, 26.786, 29.774)
    trace = (12.6, 29.4, 78.5, 139.0, 180.6)
    for sigma, psnr, psnr_linear, total in zip(SIGMAS, best, linear, trace):
        error = optima.haar_error(32, sigma)
        assert optima.psnr(error) == pytest.approx(psnr, abs=4e-3)  # the table is Monte Carlo
        assert optima.psnr(optima.haar_linear_error(32, sigma)) == pytest.approx(psnr_linear, abs=6e-4)
        assert 1024 * error / sigma**2 == pytest.approx(total, rel=3e-3)


@pytest.mark.parametrize("family", ["gaussian", "haar"])
def test_denoisers_reach_the_optimum_on_draws(family):
    """Three independent parts must agree: the draws, the denoiser, and the error in closed form."""
    clean = procedural.draw(row(family, 32), 0, 150)[..., 0]
    noisy = clean + 0.2 * np.random.default_rng(0).standard_normal(clean.shape)
    if family == "gaussian":
        estimate, error = optima.gaussian_denoise(noisy, 0.2), optima.gaussian_error(32, 0.2)
    else:
        estimate, gains = optima.haar_denoise(noisy, 0.2)
        error = optima.haar_error(32, 0.2)
        assert gains.min() > 0
        assert 0.2**2 * gains.mean() == pytest.approx(error, rel=0.03)
    assert np.mean((estimate - clean) ** 2) == pytest.approx(error, rel=0.03)


def test_haar_jacobian_is_diagonal_in_the_haar_basis_with_the_stated_eigenvalues():
    rng, side, sigma = np.random.default_rng(0), 8, 0.2
    noisy = procedural.draw(row("haar", side), 0, 1)[0, ..., 0] + sigma * rng.standard_normal((side, side))
    basis = procedural.haar_basis(side)
    np.testing.assert_allclose(basis @ basis.T, np.eye(side), atol=1e-12)
    gains = optima.haar_denoise(noisy, sigma)[1]
    for i, j in ((0, 0), (1, 0), (3, 2), (7, 5)):
        vector = np.outer(basis[i], basis[j])
        change = (
            optima.haar_denoise(noisy + 1e-5 * vector, sigma)[0]
            - optima.haar_denoise(noisy - 1e-5 * vector, sigma)[0]
        )
        np.testing.assert_allclose(change / 2e-5, gains[i, j] * vector, atol=1e-6)


def test_gaussian_pixel_variance_is_the_same_at_every_resolution():
    for side in (8, 16, 32):
        assert procedural.gaussian_spectrum(side).mean() == pytest.approx(0.04)
    field = procedural.draw(row("gaussian", 16), 0, 400) - 0.5
    assert np.mean(field**2) == pytest.approx(0.04, rel=0.05)


def test_disks_keep_their_ranges():
    for i in range(60):
        disk = procedural.draw_disk(procedural.generators("disks", 0, i, 3), 32)
        assert 4 <= disk.radius <= 10
        assert disk.radius + 1 <= min(disk.cx, disk.cy, 32 - disk.cx, 32 - disk.cy)
        assert (np.abs(disk.inside - disk.outside) >= 0.3).all()


def test_disk_tangent_is_the_derivative():
    disk = procedural.draw_disk(procedural.generators("disks", 0, 0, 1), 16)
    values = np.array([*disk[:3], disk.inside[0], disk.outside[0]])

    def image(v):
        return procedural.disk_image(procedural.Disk(*v[:3], v[3:4], v[4:]), 16)[..., 0]

    for k, derivative in enumerate(optima.disk_tangent(disk, 16)):
        step = 1e-6 * np.eye(5)[k]
        np.testing.assert_allclose(
            (image(values + step) - image(values - step)) / 2e-6, derivative, atol=1e-7
        )
    basis = optima.disk_basis(disk, 16)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)


def test_contours_are_rougher_for_small_alpha():
    rough = [
        np.abs(
            np.diff(procedural.draw(row("contours", 32, parameters={"alpha": a}), 0, 20), n=2, axis=1)
        ).mean()
        for a in (1, 2, 4)
    ]
    assert rough[0] > rough[1] > rough[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "disk"}, "did you mean 'disks'"),
        ({"parameters": {"beat": 2.0}}, "no parameter 'beat'.*did you mean 'beta'"),
        ({"parameters": {"beta": -1.0}}, "beta must be positive"),
        ({"family": "haar", "resolution": 12}, "power of two, not 12"),
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"test": 0}, "needs train and test"),
        ({"source": "x"}, "either family or source"),
    ],
)
def test_impossible_options(change, words):
    given = {"title": "x", "resolution": 8, "family": "gaussian", "train": 4, "test": 2} | change
    with pytest.raises(ValueError, match=words):
        DatasetOptions(**given)


def test_planted_fields_have_the_stated_covariance():
    """The W ties pixels at opposite ends of the image, which no window of neighbours sees together."""
    options = row("planted", 8)
    fields = procedural.draw(options, 0, 4000).reshape(4000, 64) - 0.5
    covariance = optima.planted_covariance(8)
    np.testing.assert_allclose(fields.T @ fields / 4000, covariance, atol=0.006)
    pattern = procedural.planted_pattern(16)
    ends = [tuple(int(part) for part in place) for place in np.argwhere(pattern == 1)]
    (top, left), (_, right) = min(ends, key=lambda p: p[1]), max(ends, key=lambda p: p[1])
    assert right - left >= 10
    planted = optima.planted_covariance(16)[top * 16 + left, top * 16 + right]
    assert planted > 0.01 > abs(optima.gaussian_covariance(16)[top * 16 + left, top * 16 + right])


@pytest.mark.parametrize("sigma", [0.5, 0.1])
def test_planted_optimum(sigma):
    fields = procedural.draw(row("planted", 8), 0, 2000)[..., 0]
    noisy = fields + sigma * np.random.default_rng(0).standard_normal(fields.shape)
    error = ((optima.planted_denoise(noisy, sigma) - fields) ** 2).mean()
    assert error == pytest.approx(optima.planted_error(8, sigma), rel=0.02)
    blind = ((optima.gaussian_denoise(noisy, sigma) - fields) ** 2).mean()
    assert blind > 1.02 * error  # a filter of the field alone does worse


def vectors(count=4000, **parameters):
    options = DatasetOptions(
        title="x", resolution=1, channels=8, family="mixture", train=1, test=1, parameters=parameters
    )
    return procedural.draw(options, 0, count).reshape(count, 8)


def test_mixture_of_two_gaussians():
    drawn = vectors()
    sides = drawn.mean(1) > 0
    assert sides.mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(drawn[sides].mean(0), 1, atol=0.08)
    np.testing.assert_allclose(drawn[~sides].std(0), 1, atol=0.06)
    assert vectors(deviation=0.1).std() == pytest.approx(np.sqrt(1.01), abs=0.01)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_mixture_optimum(sigma, deviation):
    """The score is the gradient of the density, tr J the divergence of the estimate, the error what they say."""
    drawn = vectors(deviation=deviation)
    noisy = drawn + sigma * np.random.default_rng(1).standard_normal(drawn.shape)
    estimate, trace = optima.mixture_denoise(noisy, sigma, deviation)
    error = optima.mixture_error(8, sigma, deviation)
    assert ((estimate - drawn) ** 2).mean() == pytest.approx(error, rel=0.04)
    assert sigma**2 * trace.mean() / 8 == pytest.approx(error, rel=0.04)
    step, few = 1e-5, noisy[:5]
    moved = [(few + step * e, few - step * e) for e in np.eye(8)]
    density = [[optima.mixture_log_density(y, sigma, deviation) for y in pair] for pair in moved]
    gradient = np.stack([(a - b) / (2 * step) for a, b in density], axis=-1)
    np.testing.assert_allclose(optima.mixture_score(few, sigma, deviation), gradient, atol=1e-6)
    estimates = [[optima.mixture_denoise(y, sigma, deviation)[0] for y in pair] for pair in moved]
    divergence = sum((a - b)[:, i] / (2 * step) for i, (a, b) in enumerate(estimates))
    np.testing.assert_allclose(divergence, trace[:5], atol=1e-5)


def test_mixture_density_is_one():
    y = np.linspace(-8, 8, 2001)[:, None]
    assert np.exp(optima.mixture_log_density(y, 0.5)).sum() * 0.008 == pytest.approx(1, abs=1e-6)
    clean = optima.mixture_score(y, 0.0)
    np.testing.assert_allclose(clean, optima.mixture_score(y, 1e-4), atol=1e-5)


def test_the_optimum_by_family():
    def found(**more):
        return optima.optimum({"resolution": 8, "channels": 1} | more)

    assert found(family="gaussian", parameters={"beta": 3.0})(0.2) == optima.gaussian_error(8, 0.2, 3.0)
    assert found(family="planted")(0.2) == optima.planted_error(8, 0.2)
    assert found(family="mixture", channels=4)(0.2) == optima.mixture_error(4, 0.4) / 4
    assert found(family="disks") is None and found(family=None) is None
    assert found(family="gaussian", base="gaussian-16") is None  # smaller than the field it is made of
