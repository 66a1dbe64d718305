"""Jacobians against closed forms: linear maps, Wiener, memoriser, sparse Haar, disks."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from denoisers import GRID, SCHEDULE, Denoiser, fake_run, memoriser, pool, series

from bench.data import optima, procedural
from bench.data.options import DatasetOptions
from bench.metrics import jacobian
from bench.metrics.declare import LeftOut
from bench.metrics.jacobian import JacobianOptions
from bench.metrics.numerics import shapes
from bench.metrics.numerics.spectra import dense_jacobian, leading_spectra, spectra
from bench.models.attention import AttentionCore
from bench.models.derivatives import OneDerivative
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError
from bench.support.randomness import generator

PLAIN = {"eps": (0.0, 1.0)}


def linear_map(matrix):
    return lambda x: (x.flatten(1) @ torch.from_numpy(matrix.T).to(x)).view(x.shape)


def noisy_input(images, step):
    clean = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    noise = torch.randn(clean.shape, generator=generator(0, "jacobian-noise", step))
    return GRID.q_sample(clean, step, noise).double().flatten(1).numpy()


def test_jacobian_of_a_linear_map_is_its_matrix():
    matrix = np.random.default_rng(0).standard_normal((48, 48))
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    dense = dense_jacobian(linear_map(matrix), x)
    np.testing.assert_allclose(dense, matrix, atol=1e-12)
    full = spectra(dense, PLAIN)["eps"]
    expected = np.linalg.eigvalsh((matrix + matrix.T) / 2)[::-1]
    np.testing.assert_allclose(full.eigenvalues, expected, atol=1e-10)
    np.testing.assert_allclose(full.singular_values, np.linalg.svd(matrix, compute_uv=False), atol=1e-6)
    assert abs(full.asymmetry - np.linalg.norm(matrix - matrix.T) / np.linalg.norm(matrix)) < 1e-12
    assert full.trace == pytest.approx(np.trace(matrix))


@pytest.mark.parametrize("shift, slope", [(0.0, 1.0), (1.0, -0.7), (3.0, -2.1)])
def test_leading_values_are_those_of_the_complete_spectrum(shift, slope):
    matrix = np.random.default_rng(0).standard_normal((48, 48))
    x, maps = torch.randn(1, 3, 4, 4, dtype=torch.float64), {"a": (shift, slope), "b": (2 * shift, 2 * slope)}
    moved = shift * np.eye(48) + slope * matrix
    full, few = spectra(matrix, maps), leading_spectra(linear_map(matrix), x, 5, maps)
    for name, factor in (("a", 1), ("b", 2)):
        expected = np.linalg.eigvalsh((moved + moved.T) / 2)[::-1] * factor
        np.testing.assert_allclose(full[name].eigenvalues, expected, atol=1e-9)
        np.testing.assert_allclose(few[name].eigenvalues, expected[:5], rtol=1e-5)
        singular = np.linalg.svd(moved, compute_uv=False) * factor
        np.testing.assert_allclose(full[name].singular_values, singular, atol=1e-6)
        np.testing.assert_allclose(few[name].singular_values, singular[:5], rtol=1e-5)
        assert np.abs((few[name].eigenvectors * full[name].eigenvectors[:, :5]).sum(0)).min() > 0.99
        assert few[name].residual < 1e-2


def test_a_constant_function_has_the_jacobian_zero():
    x = torch.randn(1, 1, 4, 4)
    assert not dense_jacobian(torch.zeros_like, x).any()
    found = leading_spectra(torch.zeros_like, x, 3, {"eps": (0.0, 1.0), "denoiser": (1.0, -0.5)})
    assert np.abs(found["eps"].eigenvalues).max() < 1e-9
    np.testing.assert_allclose(found["denoiser"].eigenvalues, 1)
    assert spectra(np.zeros((4, 4)), PLAIN)["eps"].asymmetry == 0


@pytest.mark.parametrize("step", [3, 15, 25])
def test_leading_values_of_a_memoriser_down_to_a_jacobian_of_zero(step):
    """At low noise one image has all the weight: the products are rounding, on which no iteration settles."""
    model = build(ModelSpec("m", "memoriser", {}), 8, 1)
    model.fit(pool(20, 0, 8), SCHEDULE)
    x = torch.from_numpy(noisy_input(pool(20, 0, 8)[:1], step)).float().view(1, 1, 8, 8)
    maps = jacobian.operators(float(GRID.alphas_cumprod[step]))

    def predict(z):
        return model(z, torch.full((len(z),), int(GRID.timesteps[step])))

    full, few = spectra(dense_jacobian(predict, x), maps), leading_spectra(predict, x, 10, maps)
    for name in ("x0", "denoiser"):  # of eps most eigenvalues are one and the same
        np.testing.assert_allclose(few[name].eigenvalues, full[name].eigenvalues[:10], rtol=1e-3, atol=1e-3)
        gap = np.abs(few[name].singular_values - full[name].singular_values[:10])
        assert (gap <= 2e-3 + 1e-3 * full[name].singular_values[0]).all()
    assert (full["x0"].eigenvalues[0] < 1e-3) == (step == 3)


def test_products_of_a_network_that_changes_constants_in_place():
    """As images of a control are scaled: forward mode, traced once, finds them changed at its second product."""

    def function(x):
        weight = torch.arange(16.0).to(x.dtype, copy=True).div_(4).sub_(1)
        return (x.flatten(1) * weight).view(x.shape)

    few = leading_spectra(function, torch.randn(1, 1, 4, 4), 3, PLAIN)["eps"]
    np.testing.assert_allclose(few.eigenvalues, [2.75, 2.5, 2.25], rtol=1e-5)


def test_leading_values_of_a_network_without_a_second_derivative(monkeypatch):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, up):
            return 2 * up

    x = torch.randn(1, 1, 4, 4)
    with pytest.raises(OneDerivative, match="it cannot be differentiated twice"):
        leading_spectra(Once.apply, x, 3, PLAIN)
    np.testing.assert_allclose(dense_jacobian(Once.apply, x), 2 * np.eye(16))
    net = torch.nn.Module()
    net.forward = lambda x, t: Once.apply(x)
    run, options = fake_run(net, pool(2, 0), pool(2, 0)), JacobianOptions(leading=3, vectors=[0, 2])
    found = jacobian.measure(run, options)  # from the complete spectrum
    values = [
        r["value"] for r in found.rows if r["metric"] == "jacobian_eigenvalue" and "=eps" in r["protocol"]
    ]
    assert values == pytest.approx([2, 2, 2]) and "values=3;" in found.rows[0]["protocol"]
    monkeypatch.setattr(jacobian, "COMPLETE", 15)
    with pytest.raises(
        LeftOut, match="leading values of toy cannot be computed: it cannot be differentiated twice"
    ):
        jacobian.measure(run, options)


def test_fused_attention_is_differentiated_twice_without_its_kernel():
    """As in networks of other packages, which call the function and not an AttentionCore."""
    torch.manual_seed(0)
    mix = torch.nn.Linear(4, 12).requires_grad_(False)

    def net(x):
        q, k, v = mix(x.flatten(2).transpose(1, 2))[:, None].chunk(3, -1)
        return (
            torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
        )

    x = torch.randn(1, 4, 4, 4)
    few = leading_spectra(net, x, 3, PLAIN)["eps"]
    whole = spectra(dense_jacobian(net, x), PLAIN)["eps"]
    np.testing.assert_allclose(few.eigenvalues, whole.eigenvalues[:3], rtol=1e-3)
    np.testing.assert_allclose(few.singular_values, whole.singular_values[:3], rtol=1e-3)


def test_a_backward_pass_takes_fewer_copies_where_memory_is_short():
    def net(x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return 2 * x

    np.testing.assert_allclose(dense_jacobian(net, torch.randn(1, 1, 4, 4)), 2 * np.eye(16))


def test_jacobian_through_attention():
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.core = torch.nn.Linear(4, 12), AttentionCore((4, 4), window=3)

        def forward(self, x):
            q, k, v = self.qkv(x.flatten(2).transpose(1, 2))[:, None].chunk(3, -1)
            return self.core(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)

    net, x = Net().double().requires_grad_(False), torch.randn(1, 4, 4, 4, dtype=torch.float64)
    dense = dense_jacobian(net, x)
    rows_by_hand = torch.autograd.functional.jacobian(net, x).view(64, 64)
    np.testing.assert_allclose(dense, rows_by_hand.numpy(), atol=1e-10)
    few = leading_spectra(net, x, 3, PLAIN)["eps"]
    np.testing.assert_allclose(few.eigenvalues, spectra(dense, PLAIN)["eps"].eigenvalues[:3], rtol=1e-4)


def test_wiener_has_the_gains_of_its_spectrum_at_every_level():
    side, pictures = 16, pool(2, 0, 16)
    spectrum = 4 * procedural.gaussian_spectrum(side)  # in [-1, 1] units
    gains = torch.from_numpy(spectrum)

    def denoise(y, sigma):
        return torch.fft.ifft2(torch.fft.fft2(y.view(-1, side, side)) * (gains / (gains + sigma**2))).real

    options = JacobianOptions(
        images=2, step_indices=[2, 12, 30], operators=["eps", "x0", "denoiser"], vectors=[0, 255]
    )
    found = jacobian.measure(fake_run(Denoiser(denoise), pictures, pictures), options)
    for step in (2, 12, 30):
        abar, sigma = GRID.alphas_cumprod[step], GRID.sigma(step)
        expected = np.sort((spectrum / (spectrum + sigma**2)).ravel())[::-1]
        for image in range(2):
            arrays = {o: found.arrays[f"eigenvalues_{o}_{step}_{image}"] for o in options.operators}
            np.testing.assert_allclose(arrays["denoiser"], expected, atol=2e-6)
            np.testing.assert_allclose(arrays["x0"], expected / np.sqrt(abar), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(
                arrays["eps"], (1 - expected[::-1]) / np.sqrt(1 - abar), rtol=1e-4, atol=1e-5
            )
    assert series(found, "jacobian_asymmetry", "denoiser").max() < 1e-4
    traces = series(found, "jacobian_trace", "denoiser")
    assert traces[2] == pytest.approx((spectrum / (spectrum + GRID.sigma(12) ** 2)).sum(), rel=1e-4)


def test_memorisers_jacobian_is_the_posterior_covariance_over_the_variance():
    train, step = pool(4, 0), 30
    options = JacobianOptions(step_indices=[step], operators=["x0", "denoiser"], vectors=[0, 1])
    found = jacobian.measure(fake_run(memoriser(train), train, train, pool(40, 1)), options)
    abar, sigma = GRID.alphas_cumprod[step], GRID.sigma(step)
    images, y = train.reshape(4, -1) / 127.5 - 1, noisy_input(train[:1], step) / np.sqrt(abar)
    logits = -((y - images) ** 2).sum(1) / (2 * sigma**2)
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    centred = images - weights @ images
    expected = np.linalg.eigvalsh(centred.T * weights @ centred / sigma**2)[::-1]
    assert expected[0] > 1e-3
    np.testing.assert_allclose(found.arrays[f"eigenvalues_denoiser_{step}_0"], expected, atol=1e-5)
    inside = series(found, "jacobian_train_share", "denoiser")
    assert inside[0] > 0.999 and inside.sum() == pytest.approx(3, abs=1e-3)  # N - 1 dimensions, no more


def test_sparse_haar_is_diagonal_in_its_basis():
    side, step = 8, 8
    basis = torch.from_numpy(procedural.haar_basis(side))
    p, tau2 = (torch.from_numpy(a) for a in procedural.haar_prior(side))

    def denoise(y, sigma):  # in [0, 1] units, as the closed form
        sigma = sigma / 2
        c = basis @ ((y.view(-1, side, side) + 1) / 2 - 0.5) @ basis.T
        total = tau2 + sigma**2
        exponent = -0.5 * c**2 * (1 / sigma**2 - 1 / total)
        weight = 1 / (1 + (1 - p) / p * (total / sigma**2).sqrt() * exponent.exp())
        return 2 * (0.5 + basis.T @ (weight * tau2 / total * c) @ basis) - 1

    row = DatasetOptions(title="x", resolution=side, channels=1, family="haar", train=1, test=1)
    images = procedural.round_to_uint8(procedural.draw(row, 0, 1))
    options = JacobianOptions(step_indices=[step], operators=["denoiser"], vectors=[0])
    found = jacobian.measure(fake_run(Denoiser(denoise), images, images), options)
    y = noisy_input(images, step).reshape(1, side, side) / np.sqrt(GRID.alphas_cumprod[step])
    expected = optima.haar_denoise((y + 1) / 2, GRID.sigma(step) / 2)[1].ravel()
    np.testing.assert_allclose(
        found.arrays[f"eigenvalues_denoiser_{step}_0"], np.sort(expected)[::-1], atol=1e-4
    )
    wave = procedural.haar_basis(side)
    first = np.argmax(expected)
    leader = np.outer(wave[first // side], wave[first % side])
    kept = found.arrays[f"eigenvectors_denoiser_{step}_0"][0, ..., 0]
    assert abs((kept * leader).sum()) > 0.999


def test_disks_have_a_tangent_space_of_five_dimensions():
    side = 16
    disk = procedural.draw_disk([np.random.default_rng(3)], side)
    tangent = torch.from_numpy(optima.disk_tangent(disk, side).reshape(5, -1).T.copy())
    clean = torch.from_numpy(2 * procedural.disk_image(disk, side)[..., 0].ravel() - 1)
    span = tangent @ torch.linalg.pinv(tangent)

    def denoise(y, sigma):  # the optimum as sigma -> 0: projection on the tangent space
        return clean + (y - clean) @ span

    image = procedural.round_to_uint8(procedural.disk_image(disk, side)[None])
    options = JacobianOptions(step_indices=[1], operators=["denoiser"], vectors=list(range(5)))
    found = jacobian.measure(fake_run(Denoiser(denoise), image, image, pool(50, 0, side)), options)
    values = found.arrays["eigenvalues_denoiser_1_0"]
    np.testing.assert_allclose(values[:5], 1, atol=1e-3)
    assert np.abs(values[5:]).max() < 1e-3
    assert series(found, "jacobian_trace", "denoiser") == pytest.approx(5, abs=5e-3)
    kept = found.arrays["eigenvectors_denoiser_1_0"].reshape(5, -1).T
    assert shapes.overlap(kept, optima.disk_basis(disk, side))[-1] == pytest.approx(1, abs=1e-4)


def test_a_residual_network_has_i_minus_its_own_jacobian():
    """The blind network of Kadkhodaie et al.: f predicts what to take from an image with noise, in [0, 1]."""
    torch.manual_seed(0)
    weight = torch.randn(16, 16, dtype=torch.float64) / 4

    def inner(y):
        return torch.relu(y @ weight.T) @ weight

    def denoise(y, sigma):
        unit = (y + 1) / 2
        return 2 * (unit - inner(unit)) - 1

    picture, step = pool(1, 0), 10
    options = JacobianOptions(step_indices=[step], operators=["denoiser"], vectors=[0])
    found = jacobian.measure(fake_run(Denoiser(denoise), picture, picture), options)
    y = torch.from_numpy(noisy_input(picture, step)) / GRID.alphas_cumprod[step] ** 0.5
    own = torch.autograd.functional.jacobian(inner, (y[0] + 1) / 2).numpy()
    expected = spectra(np.eye(16) - own, PLAIN)["eps"]
    np.testing.assert_allclose(
        found.arrays[f"eigenvalues_denoiser_{step}_0"], expected.eigenvalues, atol=1e-5
    )
    np.testing.assert_allclose(
        series(found, "jacobian_singular_value", "denoiser"), expected.singular_values, atol=1e-5
    )


def test_bias_free_networks_give_the_operator_of_their_paper():
    """Kadkhodaie et al. decompose I - J_res at the noisy image in [0, 1], J_res of the residual network itself."""
    torch.manual_seed(0)
    spec = ModelSpec("bf", "bf-unet", {"width": 8, "levels": 1})
    model = build(spec, 4, 1).train()
    model.residual(torch.rand(16, 1, 4, 4))  # deviations that are not those of silence
    model.double().eval().requires_grad_(False)
    picture, step = pool(1, 0), 10

    def measured(x, t, y=None):
        return model(x.double(), t).to(x.dtype)

    net = torch.nn.Module()
    net.forward = measured
    found = jacobian.measure(
        fake_run(net, picture, picture),
        JacobianOptions(step_indices=[step], operators=["denoiser"], vectors=[0]),
    )
    noisy = torch.from_numpy(noisy_input(picture, step)).view(1, 1, 4, 4)
    unit = (noisy / GRID.alphas_cumprod[step] ** 0.5 + 1) / 2
    own = torch.autograd.functional.jacobian(model.residual, unit).view(16, 16).numpy()
    expected = spectra(np.eye(16) - own, PLAIN)["eps"].singular_values
    np.testing.assert_allclose(series(found, "jacobian_singular_value", "denoiser"), expected, rtol=1e-4)
    assert np.abs(own).max() > 1e-3


def test_bad_requests_are_named_before_anything_is_trained():
    row = DatasetOptions(title="x", resolution=4, channels=1, family="disks", train=9, test=5)
    run = types.SimpleNamespace(dataset="toy")

    def said(**options):
        return jacobian.MEASUREMENT.problem(JacobianOptions(**options), run, {"toy": row})

    assert said(leading=16, vectors=[0]) == (
        "jacobian.leading = 16 is not below the dimension 16 of toy; set it to null"
    )
    assert said() == "jacobian.vectors asks for eigenvector 112, there are 16; lower it"
    assert said(leading=3, vectors=[4]) == "jacobian.vectors asks for eigenvector 4, there are 3; lower it"
    assert said(images=6, vectors=[0]) == "jacobian.images is 6, toy has 5 test images; lower it"
    assert said(images=5, vectors=[0], leading=15) is None


def test_a_derivative_that_is_not_finite_is_refused():
    sick, kink = torch.nn.Module(), torch.nn.Module()
    sick.forward = lambda x, t: x * float("nan")
    kink.forward = lambda x, t: (x - x).sqrt()  # finite, its derivative is not
    for model, leading in ((sick, None), (kink, None), (kink, 2)):
        with pytest.raises(BenchError, match="not finite"):
            run = fake_run(model, pool(2, 0), pool(2, 0))
            jacobian.measure(run, JacobianOptions(vectors=[0], leading=leading))


def test_auto_takes_leading_values_beyond_a_size():
    auto = JacobianOptions(leading="auto", vectors=[0, 30])
    assert auto.count(3072) is None and auto.count(12288) == 31
    with pytest.raises(ValueError, match="leading must be at least 1, not 0"):
        JacobianOptions(leading=0)
