"""Fréchet distance between Gaussian fits of two feature sets (Heusel et al. 2017, Eq. 6)."""

from __future__ import annotations

import numpy as np

from bench import paths
from bench.errors import BenchError
from bench.metrics.features import features
from bench.metrics.measure import Measurement
from bench.options import FrechetOptions
from bench.runs import Run


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Return ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, float64.

    The trace of the root is the sum of the root eigenvalues of ``S1^(1/2) S2 S1^(1/2)``, which is symmetric:
    real and right for covariances of any rank.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov2 @ root)
    difference = mean1 - mean2
    return float(
        difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(product.clip(0)).sum()
    )


def measure(run: Run, options: FrechetOptions) -> Measurement:
    """Compare ``samples.npz`` with the dataset's reference statistics; called ``fid`` only in Inception features."""
    file = paths.reference_file(run.spec.dataset, options.features, options.reference)
    with np.load(file, allow_pickle=False) as reference, np.load(run.folder / "samples.npz") as drawn:
        if str(reference["sha256"]) != run.data_hash:
            raise BenchError(
                f"{file} belongs to another version of {run.spec.dataset}; run `bench reference` again."
            )
        found = features(drawn["samples"], options.features, run.device)
        value = frechet_distance(
            found.mean(0), np.cov(found, rowvar=False), reference["mean"], reference["covariance"]
        )
        protocol = (
            f"features={reference['features']};samples={options.samples};sampler={options.sampler};"
            f"steps={options.steps};reference={int(reference['count'])}"
        )
    measurement = Measurement()
    measurement.add("fid" if options.features == "inception" else "frechet", value, protocol=protocol)
    return measurement
