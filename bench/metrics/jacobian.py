"""Spectrum and eigenvectors of a denoiser's input-output Jacobian, at images and noise levels.

The paper does not say which Jacobian it decomposes, so three are offered; with J of the noise prediction and
x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps:

============ ================================== =========================================================
``eps``      J                                  of the noise prediction
``x0``       (I - sqrt(1-abar) J) / sqrt(abar)  of the one-step x0 estimate, unclipped, by x_t
``denoiser`` I - sqrt(1-abar) J                 of the same by x_t / sqrt(abar), the image with noise of
                                                deviation sigma: I - sigma d eps. At the optimum it is the
                                                posterior covariance over sigma^2, its trace the effective
                                                dimension; for a network that predicts the residual
                                                it is I - J_res (Kadkhodaie et al., arXiv 2310.02557)
============ ================================== =========================================================

Eigenvalues and eigenvectors are those of the symmetric part; singular values and the asymmetry are reported too,
and `bench.metrics.numerics.shapes` puts what the leading eigenvectors look like into numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import LeftOut, Measurement, NoiseLevels, Result, Row, lacks_images
from bench.support.options import check, option

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.options import DatasetOptions
    from bench.diffusion.schedule import Schedule
    from bench.jobs.run import Run
    from bench.metrics.numerics.spectra import Maps, Spectrum
    from bench.suite.options import RunSpec

COMPLETE = 4096  # `leading: auto` takes the complete spectrum up to here: 128 MiB a matrix in float64
FEWEST = 16  # leading values that `auto` takes beyond the size of complete spectra
SHAPES = 64  # leading eigenvectors whose shape is measured
PRODUCT = 3  # forward passes that a product with the Jacobian amounts to


@dataclass(frozen=True)
class JacobianOptions(NoiseLevels):
    """Spectrum and eigenvectors of the network's input-output Jacobian (paper section 2.2)."""

    operators: list[Literal["eps", "x0", "denoiser"]] = option(
        ["eps", "x0"],
        "Jacobians of which output: the noise, the x0 estimate, or I - sigma d eps, which is that of the x0 "
        "estimate with respect to x_t / sqrt(abar)",
        "assumed",
    )
    vectors: list[int] = option([0, 112, 224], "indices of the eigenvectors that are kept", "paper")
    leading: int | Literal["auto"] | None = option(
        None,
        "leading values only, matrix-free; null takes the complete spectrum; "
        f"auto takes it up to dimension {COMPLETE}, beyond it 16 leading values, or as many as `vectors` needs",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check(len(self.operators) > 0, "operators must name at least one of eps, x0, denoiser")
        check(all(i >= 0 for i in self.vectors), "vectors must not be negative")

    def count(self, size: int) -> int | None:
        """Return how many leading values are taken at dimension ``size``, None for the complete spectrum."""
        if self.leading != "auto":
            return self.leading
        return None if size <= COMPLETE else max(FEWEST, *(k + 1 for k in self.vectors))


def _passes(options: JacobianOptions, pixels: int) -> float | None:
    if options.count(pixels) is not None:
        return None  # as many products as it takes to converge
    return options.images * len(options.step_indices) * pixels * PRODUCT


def _problem(options: JacobianOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    row = datasets[run.dataset]
    size = row.resolution**2 * row.channels
    leading = options.count(size)
    if leading is not None and leading >= size:
        return (
            f"jacobian.leading = {leading} is not below the dimension {size} of {run.dataset}; set it to null"
        )
    if bad := [k for k in options.vectors if k >= (leading or size)]:
        return f"jacobian.vectors asks for eigenvector {bad[0]}, there are {leading or size}; lower it"
    return lacks_images("jacobian.images", options.images, run, datasets)


ROWS = {
    "eigenvalue": ("", "eigenvalue k of the symmetric part of the Jacobian, largest first"),
    "singular_value": ("", "singular value k of the Jacobian, largest first"),
    "asymmetry": ("", "|J - J^T| / |J| in the Frobenius norm"),
    "trace": ("", "trace of the Jacobian; of the optimal denoiser, the effective dimension"),
    "residual": ("", "largest residual |A v - lambda v| / max |lambda| of the leading values"),
    "participation": (
        "",
        "share of the pixels that eigenvector k lives on: 1 for all, 1 / pixels for one",
    ),
    "frequency": ("cycles/image", "mean spatial frequency of eigenvector k (oscillating)"),
    "overlap_pca": (
        "",
        "mean squared cosine of the leading k + 1 eigenvectors with the train pool's principal components",
    ),
    "overlap_dct": (
        "",
        "the same with the k + 1 cosines of largest variance in the train pool (fixed harmonics)",
    ),
    "train_share": (
        "",
        "share of eigenvector k inside the span of differences of the N training images (memorised)",
    ),
}
MEASUREMENT = Measurement(
    "jacobian",
    JacobianOptions,
    {f"jacobian_{name}": Row(unit, "", meaning) for name, (unit, meaning) in ROWS.items()},
    passes=lambda options, run, pixels: _passes(options, pixels),
    problem=_problem,
)


def measure(run: Run, options: JacobianOptions) -> Result:
    """Measure the Jacobians on the first test images at the noise levels of the step grid.

    Leading values need a network that can be differentiated twice; of another one they are taken from the complete
    spectrum, up to dimension COMPLETE.  Raises LeftOut beyond it, BenchError where a derivative is not finite.
    """
    from bench.data.pixels import to_uint8
    from bench.metrics.numerics import shapes
    from bench.metrics.numerics.denoising import noisy, on_device

    grid, clean = run.schedule.respace(options.steps), run.test_images(options.images)
    shape, size = (clean.shape[3], *clean.shape[1:3]), clean[0].size
    leading = options.count(size)
    train = run.train_images(size + 1)  # more span everything
    basis = shapes.bases(shapes.draw(run.dataset.train), train, min(SHAPES, size))
    images = on_device(clean, run.device).contiguous()
    found = Result(arrays={"images": clean, "vectors": np.array(options.vectors)})
    for step in options.step_indices:
        x_t = noisy(images, grid, step, "jacobian-noise")
        found.arrays[f"noisy_{step}"] = to_uint8(x_t.cpu()).numpy()
        for image, x in enumerate(x_t.split(1)):
            for operator, spectrum in _spectra(run, options, grid, x, step, leading).items():
                name = f"{operator}_{step}_{image}"
                chosen = spectrum.eigenvectors[:, options.vectors].T.reshape(-1, *shape)
                found.arrays[f"eigenvalues_{name}"] = spectrum.eigenvalues
                found.arrays[f"eigenvectors_{name}"] = chosen.transpose(0, 2, 3, 1).astype(np.float32)
                where = f"operator={operator};step={step};image={image};values={leading or 'all'}"
                looks = shapes.numbers(spectrum.eigenvectors[:, :SHAPES], shape, basis)
                _record(found, spectrum, looks, f"{where};sigma={grid.sigma(step):.4g}")
    return found


def operators(abar: float) -> Maps:
    """Return (shift, slope) of each operator: it is ``shift I + slope J``, J of the noise prediction."""
    noise, signal = math.sqrt(1 - abar), math.sqrt(abar)
    return {"eps": (0.0, 1.0), "x0": (1 / signal, -noise / signal), "denoiser": (1.0, -noise)}


def _spectra(
    run: Run, options: JacobianOptions, grid: Schedule, x: Tensor, step: int, leading: int | None
) -> dict[str, Spectrum]:
    """Return the spectrum of each operator at one noisy image (1, C, H, W)."""
    from bench.metrics.numerics.spectra import dense_jacobian, leading_spectra, spectra
    from bench.models.derivatives import OneDerivative

    t, model = int(grid.timesteps[step]), run.model

    def predict(z: Tensor) -> Tensor:
        return model(z, z.new_full((len(z),), t, dtype=int))

    known = operators(float(grid.alphas_cumprod[step]))
    maps: Maps = {name: known[name] for name in options.operators}
    if leading is None:
        return spectra(dense_jacobian(predict, x), maps)
    try:
        return leading_spectra(predict, x, leading, maps)
    except OneDerivative as error:
        if x.numel() > COMPLETE:
            raise LeftOut(f"leading values of {run.spec.name} cannot be computed: {error}") from error
    found = spectra(dense_jacobian(predict, x), maps)
    return {name: spectrum.first(leading) for name, spectrum in found.items()}


def _record(found: Result, spectrum: Spectrum, looks: dict[str, np.ndarray], protocol: str) -> None:
    series = {"eigenvalue": spectrum.eigenvalues, "singular_value": spectrum.singular_values} | looks
    for name, values in series.items():
        for k, value in enumerate(values):
            found.add(f"jacobian_{name}", value, "test", "k", k, protocol)
    if math.isnan(spectrum.trace):
        found.add("jacobian_residual", spectrum.residual, "test", protocol=protocol)
    else:
        found.add("jacobian_asymmetry", spectrum.asymmetry, "test", protocol=protocol)
        found.add("jacobian_trace", spectrum.trace, "test", protocol=protocol)
