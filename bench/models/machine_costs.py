"""What closed-form denoisers cost, in multiply-adds of a network that take as long; ``bench plan`` counts them. Torch-free.

The factors are fitted to processor times of the machines in ``benchmarks/scaling.py`` at 16x16, N = 100, ten noisy images,
patches of 3 to 15, and rounded; they hold within a factor of two to three.  Gathering a patch waits for memory, and a pair
of places costs an exponential and two sums whatever the patch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

GATHER = 100  # for each pixel of a patch that is gathered
PAIR = 200  # for each pair of places that is compared
PRODUCT = 1  # for each pixel of a patch in a pair


def pairs(machine: str, side: int, patch: int) -> int:
    """Return how many pairs of places a local score machine compares in one noisy image and one known one."""
    half = min(patch // 2, side // 2)
    inside = side - 2 * half
    if machine == "local":
        return side**2
    if machine == "equivariant":
        return side**2 * max(1, side - patch + 1) ** 2
    # boundary-broken: with the places that the border cuts alike, of which a corner has one, an edge a line
    return inside**4 + 4 * half * inside**2 + 4 * half**2


def machine_macs(machine: str, side: int, channels: int, patch: int, known: int) -> float:
    """Return the cost of one estimate by a machine of ``known`` images; ``ideal`` and ``linear`` have no patch."""
    pixels = math.prod((side, side, channels))
    if machine == "ideal":
        return 2 * known * pixels
    if machine == "linear":
        return pixels**2
    of_pair = PAIR + PRODUCT * channels * patch**2
    return known * (GATHER * pixels * patch**2 + of_pair * pairs(machine, side, patch))


def machines_macs(
    machines: Iterable[str], patches: Iterable[int], estimates: int, known: int, image: tuple[int, int]
) -> float:
    """Return the cost of ``estimates`` images (side, channels) by each machine with each patch."""
    sizes = [*patches]
    return estimates * sum(machine_macs(name, *image, size, known) for name in machines for size in sizes)
