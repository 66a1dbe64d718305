"""A run whose network was trained elsewhere, opened: its own noise schedule, and the training images that are known."""

from __future__ import annotations

import importlib
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.subset import Subset, read_subset
from bench.diffusion.schedule import Schedule
from bench.jobs.run import Run
from bench.metrics.declare import LeftOut, Result, measurements
from bench.support import paths
from bench.support.files import read_json

# Measurements that look at training images among others -> rows of theirs that only concern these, whatever their split
OF_TRAINING: dict[str, tuple[str, ...]] = {"psnr": (), "jacobian": ("jacobian_train_share",)}
ROWS = "training_images.npz"  # rows of the train pool, in the folder of the run


class Adopted(Run):
    """A run that `bench adopt` wrote; ``record["adopted"]`` says from what.  Raises BenchError as :class:`Run` does."""

    standing_in = False

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule that it was trained with, all T steps; kept as betas where it is neither linear nor cosine."""
        betas = self.record.get("adopted", {}).get(
            "betas"
        )  # a run that it is compared with may be trained here
        return super().schedule if betas is None else Schedule(np.array(betas), np.arange(len(betas)))

    @cached_property
    def _order(self) -> Subset:
        file = paths.subset_file(self.spec.dataset, self.spec.shuffle, self.results)
        order = read_subset(file, self.dataset, 0)
        if not self.spec.train_size:
            return order
        with np.load(self.folder / ROWS, allow_pickle=False) as opened:
            return order._replace(train=opened["rows"])

    def train_rows(self) -> np.ndarray:
        """Return the positions of the N training images in the train pool, (N,); raises LeftOut if they are unknown."""
        self._check_known()
        return super().train_rows()

    def train_images(self, count: int | None = None) -> np.ndarray:
        """Return the first ``count`` training images, uint8 (n, H, W, C); raises LeftOut if they are unknown.

        While ``standing_in`` is set, test images stand in for unknown ones.
        """
        if self.standing_in:
            return self.test_images(min(count or sys.maxsize, len(self.dataset.test)))
        self._check_known()
        return super().train_images(count)

    def _check_known(self) -> None:
        if not self.spec.train_size:
            raise LeftOut(
                f"The training images of {self.spec.name} are not known; adopt it again with --train-images."
            )


def take(run: Run, metric: str, options: Any, **given: Any) -> Result:
    """Take one measurement of a run; where its training images are not known, without the rows that concern them."""
    measure = importlib.import_module(measurements()[metric].module).measure
    unknown = isinstance(run, Adopted) and not run.spec.train_size
    if not unknown or metric not in OF_TRAINING:
        return measure(run, options, **given)
    run.standing_in = True  # type: ignore[attr-defined]
    try:
        found = measure(run, options, **given)
    finally:
        run.standing_in = False  # type: ignore[attr-defined]
    dropped = OF_TRAINING[metric]
    rows = [r for r in found.rows if not r["split"].startswith("train") and r["metric"] not in dropped]
    return Result(rows, {key: value for key, value in found.arrays.items() if not key.startswith("train")})


def open_run(folder: Path, device: str) -> Run:
    """Return a finished run, trained here or elsewhere."""
    elsewhere = "adopted" in read_json(folder / "run.json")
    return (Adopted if elsewhere else Run)(folder, device)
