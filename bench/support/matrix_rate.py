"""A device's peak: the measured rate of a large matrix product, so that a share of it can be stated."""

from __future__ import annotations

import time

SIDES = {"cuda": 8192, "cpu": 512}
REPEATS = 10


def matrix_rate(device: str, precision: str = "float32") -> float:
    """Return the floating-point operations per second of square matrix products of random numbers on a device.

    Two operations for each multiply-add; float32 without TF32, as measurements compute.
    """
    import torch

    side = SIDES[torch.device(device).type]
    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, precision)) for _ in range(2))

    def run(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            a @ b
        if a.is_cuda:
            torch.cuda.synchronize(a.device)
        return time.perf_counter() - began

    run(3)  # the first ones choose a kernel and raise the clock
    return 2 * side**3 * REPEATS / run(REPEATS)
