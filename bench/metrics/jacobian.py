"""Spectrum and eigenvectors of a denoiser's input-output Jacobian, at images and noise levels.

The paper does not say which Jacobian it decomposes, so three are offered; with J of the noise prediction and
x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps:

============ ================================== =========================================================
``eps``      J                                  of the noise prediction
``x0``       (I - sqrt(1-abar) J) / sqrt(abar)  of the one-step image estimate, unclipped, by x_t
``denoiser`` I - sqrt(1-abar) J                 of the same by x_t / sqrt(abar), the image with noise of
                                                deviation sigma: I - sigma d eps. At the optimum it is the
                                                posterior covariance over sigma^2, its trace the effective
                                                dimension; for a network that predicts the residual
                                                it is I - J_res (Kadkhodaie et al., arXiv 2310.02557)
============ ================================== =========================================================

Eigenvalues and eigenvectors are those of the symmetric part; singular values and the asymmetry stand beside,
and `bench.metrics.shapes` puts what the leading eigenvectors look like into numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import to_network, to_uint8
from bench.diffusion.schedule import Schedule
from bench.jobs.run import Run, check_prediction
from bench.metrics import shapes
from bench.metrics.measure import Measurement
from bench.metrics.options import COMPLETE, JacobianOptions
from bench.metrics.spectra import Maps, Spectrum, dense_jacobian, leading_spectra, spectra
from bench.support.errors import BenchError
from bench.support.randomness import generator

FEWEST = 16  # leading values that `auto` takes beyond the size of complete spectra
SHAPES = 64  # leading eigenvectors whose shape is measured


def measure(run: Run, options: JacobianOptions) -> Measurement:
    """Measure the Jacobians on the first test images at the noise levels of the step grid.

    Raises BenchError for more leading values or eigenvectors than the dimension has, and for a network whose
    output is not finite or has another shape than its input.
    """
    grid = run.schedule.respace(options.steps)
    clean = run.test_images(options.images)
    shape = (clean.shape[3], *clean.shape[1:3])
    size = clean[0].size
    leading = _leading(options, size)
    train = run.train_images(size + 1)  # more span everything
    basis = shapes.bases(run.dataset.train[: shapes.POOL], train, min(SHAPES, size))
    images = to_network(torch.from_numpy(clean)).to(run.device).contiguous()
    found = Measurement(arrays={"images": clean, "vectors": np.array(options.vectors)})
    for step in options.step_indices:
        noise = torch.randn(images.shape, generator=generator(0, "jacobian-noise", step)).to(images.device)
        noisy = grid.q_sample(images, step, noise)
        found.arrays[f"noisy_{step}"] = to_uint8(noisy.cpu()).numpy()
        for image, x in enumerate(noisy.split(1)):
            for operator, spectrum in _spectra(run, options, grid, x, step, leading):
                where = (operator, step, image)
                _keep(found, options, spectrum, where, shape)
                protocol = f"operator={operator};step={step};image={image};values={leading or 'all'}"
                _record(found, spectrum, f"{protocol};sigma={grid.sigma(step):.4g}", shape, basis)
    return found


def _leading(options: JacobianOptions, size: int) -> int | None:
    """Return how many leading values are taken, None for the complete spectrum of dimension ``size``."""
    leading = options.leading
    if leading == "auto":
        leading = None if size <= COMPLETE else max(FEWEST, *(k + 1 for k in options.vectors))
    if leading is not None and leading >= size:
        raise BenchError(f"jacobian.leading = {leading} is not below the dimension {size}; set it to null.")
    if bad := [k for k in options.vectors if k >= (leading or size)]:
        raise BenchError(
            f"jacobian.vectors asks for eigenvector {bad[0]}, there are {leading or size}; lower it."
        )
    return leading


def operators(abar: float) -> Maps:
    """Return (shift, slope) of each operator: it is ``shift I + slope J``, J of the noise prediction."""
    noise, signal = math.sqrt(1 - abar), math.sqrt(abar)
    return {"eps": (0.0, 1.0), "x0": (1 / signal, -noise / signal), "denoiser": (1.0, -noise)}


def _spectra(
    run: Run, options: JacobianOptions, grid: Schedule, x: Tensor, step: int, leading: int | None
) -> Iterator[tuple[str, Spectrum]]:
    """Yield (operator, spectrum) at one noisy image (1, C, H, W)."""
    t, model = int(grid.timesteps[step]), run.model

    def predict(z: Tensor) -> Tensor:
        return model(z, torch.full((len(z),), t, device=z.device))

    with torch.no_grad():
        check_prediction(predict(x), x, run.spec.name)
    known = operators(float(grid.alphas_cumprod[step]))
    maps = {name: known[name] for name in options.operators}
    if leading is not None:
        yield from leading_spectra(predict, x, leading, maps).items()
    else:
        yield from spectra(dense_jacobian(predict, x), maps).items()


def _keep(
    found: Measurement,
    options: JacobianOptions,
    spectrum: Spectrum,
    where: tuple[str, int, int],
    shape: shapes.Shape,
) -> None:
    """Keep the eigenvalues and the eigenvectors that are looked at, (n, H, W, C)."""
    name = "_".join(map(str, where))
    chosen = spectrum.eigenvectors[:, options.vectors].T.reshape(-1, *shape)
    found.arrays[f"eigenvalues_{name}"] = spectrum.eigenvalues
    found.arrays[f"eigenvectors_{name}"] = chosen.transpose(0, 2, 3, 1).astype(np.float32)


def _record(
    found: Measurement, spectrum: Spectrum, protocol: str, shape: shapes.Shape, basis: shapes.Bases
) -> None:
    vectors = spectrum.eigenvectors[:, :SHAPES]
    series = {
        "jacobian_eigenvalue": spectrum.eigenvalues,
        "jacobian_singular_value": spectrum.singular_values,
        "jacobian_participation": shapes.participation(vectors, shape),
        "jacobian_frequency": shapes.frequency(vectors, shape),
        "jacobian_overlap_pca": shapes.overlap(vectors, basis.pca[:, : vectors.shape[1]]),
        "jacobian_overlap_dct": shapes.overlap(vectors, basis.dct[:, : vectors.shape[1]]),
    }
    if basis.train is not None:
        series["jacobian_train_share"] = shapes.share(vectors, basis.train)
    for metric, values in series.items():
        for k, value in enumerate(values):
            found.add(metric, value, "test", "k", k, protocol)
    if math.isnan(spectrum.trace):
        found.add("jacobian_residual", spectrum.residual, "test", protocol=protocol)
    else:
        found.add("jacobian_asymmetry", spectrum.asymmetry, "test", protocol=protocol)
        found.add("jacobian_trace", spectrum.trace, "test", protocol=protocol)
