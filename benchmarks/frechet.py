"""Fréchet distance of two sets of features against clean-fid's: ``python benchmarks/frechet.py [--dimensions 2048]``.

Both get the same means and covariances.  Processor time; one thread with OMP_NUM_THREADS=1, as `make bench` sets it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from bench.metrics.frechet import frechet_distance
from bench.support.torchvision_import import ensure_torchvision


def moments(count: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of correlated features, of full rank where ``count`` is above ``dimensions``."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dimensions + 1) ** -0.5
    features = rng.standard_normal((count, dimensions)) * scale + 0.1 * seed * scale
    return features.mean(0), np.cov(features, rowvar=False)


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Return the value and the processor seconds."""
    began = time.process_time()
    value = work()
    return float(value), time.process_time() - began


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=5000)
    arguments = parser.parse_args()
    ensure_torchvision()
    from cleanfid import fid

    given = [moments(arguments.samples, arguments.dimensions, seed) for seed in (0, 1)]
    both = (*given[0], *given[1])
    own, seconds = timed(lambda: frechet_distance(*both))
    print("| what | distance | seconds | speed-up |\n| --- | --- | --- | --- |", flush=True)
    print(f"| symmetric eigen-decomposition | {own:.9g} | {seconds:.2f} | |", flush=True)
    other, longer = timed(lambda: fid.frechet_distance(*both))
    print(f"| clean-fid | {other:.9g} | {longer:.2f} | {longer / seconds:.1f} |")
    print(f"\nRelative difference {abs(own - other) / other:.1e}.")


if __name__ == "__main__":
    main()
