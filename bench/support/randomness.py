"""Random draws as a function of position: (seed, stream, step), never of history.

A run that was killed and started again draws the same numbers, and two models that share a seed and a stream share
the noise.  Every generator starts from 64 bits of the position's SHA-256.  On the CPU torch runs a Mersenne Twister, on
a GPU Philox: the same position gives other numbers on the other kind of device.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_WORDS = slice(
    24, 24 + 8 * 624
)  # of the Mersenne Twister in torch's state of a CPU generator, behind its counters


def _key(seed: int, stream: str, step: int) -> int:
    text = f"{seed}/{stream}/{step}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def numpy_generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """Return a NumPy generator (Philox) for this position."""
    return np.random.Generator(np.random.Philox(_key(seed, stream, step)))


@functools.cache
def _fresh_state() -> torch.Tensor:
    import torch

    return torch.Generator().manual_seed(0).get_state()


def _cpu_state(seed: int, stream: str, step: int) -> torch.Tensor:
    """Return the state of a CPU generator; ``manual_seed`` would keep only 32 bits of the key."""
    import torch

    words = np.random.Philox(_key(seed, stream, step)).random_raw(312).view(np.uint32)
    state = _fresh_state().clone()
    state[_WORDS] = torch.from_numpy(words.astype(np.uint64).view(np.uint8))
    return state


def generator(seed: int, stream: str, step: int = 0) -> torch.Generator:
    """Return a CPU ``torch.Generator`` for this position."""
    import torch

    made = torch.Generator()
    made.set_state(_cpu_state(seed, stream, step))
    return made


def seed_all(seed: int, stream: str, step: int = 0) -> None:
    """Seed torch's default generators (CPU and GPUs) for this position; waits for no GPU."""
    import torch

    torch.default_generator.set_state(_cpu_state(seed, stream, step))
    torch.cuda.manual_seed_all(_key(seed, stream, step))  # does nothing if there is no GPU
