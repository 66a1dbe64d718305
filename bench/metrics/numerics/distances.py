"""Distances between two sets of features: Fréchet (Heusel et al. 2017, Eq. 6) and kernel."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Return ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, float64.

    The trace of the root is the sum of the root eigenvalues of ``S2 S1``, from symmetric problems only: real and
    right for covariances of any rank.
    """
    eigenvalues = _product_eigenvalues(cov1, cov2)
    difference = mean1 - mean2
    return float(
        difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(eigenvalues.clip(0)).sum()
    )


def _product_eigenvalues(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    try:  # by Cholesky's root of the first, several times faster
        return scipy.linalg.eigvalsh(second, first, type=2, driver="gv")
    except np.linalg.LinAlgError:  # not definite: by its symmetric root
        values, vectors = np.linalg.eigh(first)
        root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        return np.linalg.eigvalsh(root @ second @ root)


def kernel_distance(first: np.ndarray, second: np.ndarray, subsets: int, size: int) -> float:
    """Return clean-fid's kernel distance (KID in Inception features) of features (n, d) and (m, d).

    The mean over random subsets of ``min(size, n, m)`` of the unbiased squared MMD with the cubic kernel
    (Binkowski et al. 2018, section 4).  clean-fid draws from NumPy's global generator: it is seeded here and
    put back.
    """
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    from cleanfid.fid import kernel_distance as clean_fids

    state = np.random.get_state()
    np.random.seed(0)
    try:
        return clean_fids(first, second, num_subsets=subsets, max_subset_size=size)
    finally:
        np.random.set_state(state)
