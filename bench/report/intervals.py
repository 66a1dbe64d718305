"""Intervals over shuffles."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


def paired_interval(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the t interval of the mean of paired differences, one per shuffle; raises ValueError below two."""
    count = len(differences)
    if count < 2:
        raise ValueError("an interval needs two shuffles or more")
    half = stdtrit(count - 1, (1 + level) / 2) * np.std(differences, ddof=1) / np.sqrt(count)
    return float(np.mean(differences) - half), float(np.mean(differences) + half)
