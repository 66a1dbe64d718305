"""Fréchet distance of two sets of features against clean-fid's: ``python benchmarks/frechet.py [--dimensions 2048]``.

Both get the same means and covariances. One thread with OMP_NUM_THREADS=1, as `make bench` sets it.
"""

from __future__ import annotations

import numpy as np
from timing import Table, now, parser

from bench.metrics.numerics.distances import frechet_distance
from bench.support.torchvision_import import ensure_torchvision


def moments(count: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of correlated features, of full rank if ``count`` is above ``dimensions``."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dimensions + 1) ** -0.5
    features = rng.standard_normal((count, dimensions)) * scale + 0.1 * seed * scale
    return features.mean(0), np.cov(features, rowvar=False)


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument("--dimensions", type=int, default=2048)
    made.add_argument("--samples", type=int, default=5000)
    arguments = made.parse_args()
    ensure_torchvision()
    from cleanfid import fid

    given = [moments(arguments.samples, arguments.dimensions, seed) for seed in (0, 1)]
    both = (*given[0], *given[1])
    table = Table(
        arguments, ["what", "distance", "seconds", "times clean-fid"], dimensions=arguments.dimensions
    )
    taken = {}
    for what, work in {"clean-fid": fid.frechet_distance, "this project": frechet_distance}.items():
        began = now("cpu")
        value = float(work(*both))
        taken[what] = now("cpu") - began
        table.add(what, f"{value:.9g}", taken[what], taken[what] / taken["clean-fid"])


if __name__ == "__main__":
    main()
