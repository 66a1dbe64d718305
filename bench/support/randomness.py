"""Random draws as a function of position: (seed, stream, step), never of history.

A run that was killed and started again draws the same numbers, and two models that share a seed and
a stream share the noise.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _key(seed: int, stream: str, step: int) -> int:
    text = f"{seed}/{stream}/{step}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def numpy_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """Return a NumPy generator (Philox) for this position."""
    return np.random.Generator(np.random.Philox(_key(seed, stream, step)))


def generator(seed: int, stream: str, step: int = 0):
    """Return a CPU ``torch.Generator`` for this position."""
    import torch

    return torch.Generator().manual_seed(_key(seed, stream, step) & (2**63 - 1))


def seed_all(seed: int, stream: str, step: int = 0) -> None:
    """Seed torch's default generators (CPU and GPU) for this position; their bits differ between devices."""
    import torch

    torch.manual_seed(_key(seed, stream, step) & (2**63 - 1))
