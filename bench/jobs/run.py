"""A finished run on disk, opened: its model, options and images."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from bench.data.dataset import Dataset, open_dataset
from bench.data.subset import Subset, read_subset
from bench.diffusion.prediction import as_eps
from bench.diffusion.schedule import Schedule, make_schedule
from bench.models.registry import build
from bench.suite import options
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.support.randomness import generator


class Run:
    """A finished run ``results/SUITE/runs/RUN``.

    Attributes: ``spec`` (:class:`bench.suite.options.RunSpec`), ``record`` (the whole ``run.json``), ``model``
    (averaged weights, evaluation mode, on ``device``, returning eps), ``schedule`` (all T steps), ``dataset``.
    ``weights`` names another weights file, say a snapshot.  Raises BenchError if the folder holds no
    finished run, or its weights do not fit its options or are not finite, or the network does not return a noise
    prediction.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", weights: str | Path | None = None) -> None:
        self.folder, self.device = Path(folder), device
        self.record = read_json(self.folder / "run.json")
        self.spec: options.RunSpec = options.trained_spec(self.record)
        self.weights = Path(weights) if weights else self.folder / "weights.safetensors"
        self.data_hash: str = self.record["data"]["sha256"]
        self.code: str = self.record["code"]["fingerprint"]
        self.results = paths.results_of(self.folder)

    def reopen(self, folder: Path | None = None, weights: Path | None = None) -> Run:
        """Return another run, or this one with other weights, on the same device."""
        other = type(self)(folder or self.folder, self.device, weights)
        if folder is None:  # the same images: not read and checked again
            other.__dict__ |= {k: v for k, v in self.__dict__.items() if k in ("dataset", "_order")}
        return other

    @property
    def image_size(self) -> int:
        """Resolution in pixels."""
        return self.record["data"]["resolution"]

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.record["data"]["channels"]

    @cached_property
    def schedule(self) -> Schedule:
        """The training schedule with all T steps."""
        return make_schedule(self.spec.training.schedule, self.spec.training.timesteps)

    @cached_property
    def model(self) -> torch.nn.Module:
        """The network with its averaged weights, in evaluation mode, parameters frozen; tried on one noise image."""
        model = build(self.spec.model, self.image_size, self.channels)
        self._load_weights(model)
        model = as_eps(model, self.schedule, self.spec.training.prediction)
        model = model.to(self.device).eval().requires_grad_(False)
        shape = 1, self.channels, self.image_size, self.image_size
        x = torch.randn(shape, generator=generator(0, "trial", 0)).to(self.device)
        last = torch.tensor([len(self.schedule) - 1], device=self.device)
        with torch.no_grad():
            check_prediction(model(x, last), x, self.spec.name)
        return model

    def _load_weights(self, model: torch.nn.Module) -> None:
        try:
            state = load_file(self.weights)
            model.load_state_dict(state)
        except FileNotFoundError:
            raise BenchError(f"{self.weights} does not exist; train the run first.") from None
        except Exception as error:
            raise BenchError(
                f"{self.weights} cannot be loaded ({error}); delete it and train the run again."
            ) from error
        bad = next((key for key, value in state.items() if not bool(value.isfinite().all())), None)
        if bad is not None:
            raise BenchError(
                f"{self.weights} holds values that are not finite in {bad!r}; train the run again."
            )

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, its content hash checked against the one the run was trained on."""
        dataset = open_dataset(paths.dataset_folder(self.spec.dataset, self.results))
        if dataset.manifest["sha256"] != self.data_hash:
            raise BenchError(
                f"{self.folder} was trained on another version of {self.spec.dataset} "
                f"({self.data_hash[:12]}, here {dataset.manifest['sha256'][:12]}); train it again."
            )
        return dataset

    @cached_property
    def _order(self) -> Subset:
        file = paths.subset_file(self.spec.dataset, self.spec.shuffle, self.results)
        return read_subset(file, self.dataset, self.spec.train_size, self.spec.half)

    def train_rows(self) -> np.ndarray:
        """Return the indices of the N training images in the dataset's train pool, (N,)."""
        return self._order.train

    def train_images(self, count: int | None = None) -> np.ndarray:
        """Return the first ``count`` (default all) of the N training images, uint8 (n, H, W, C)."""
        return np.ascontiguousarray(self.dataset.train[self._order.train[:count]])

    def validation_images(self, count: int | None = None) -> np.ndarray:
        """Return the first ``count`` (default all) validation images of this shuffle, uint8 (n, H, W, C)."""
        return self._held_out("validation", count)

    def test_images(self, count: int | None = None) -> np.ndarray:
        """Return the first ``count`` (default all) test images of this shuffle, uint8 (n, H, W, C)."""
        return self._held_out("test", count)

    def _held_out(self, pool: str, count: int | None) -> np.ndarray:
        images, name = getattr(self.dataset, pool), self.spec.dataset
        if len(images) == 0:
            raise BenchError(
                f"Dataset {name} has no {pool} images; set `{pool}: N` in its row and run `bench data build {name}`."
            )
        if (count or 0) > len(images):
            raise BenchError(
                f"Dataset {name} has {len(images)} {pool} images, fewer than the {count} asked for; lower the count."
            )
        return np.ascontiguousarray(images[getattr(self._order, pool)[:count]])


def check_prediction(eps: torch.Tensor, x: torch.Tensor, name: str) -> None:
    """Raise BenchError if the prediction ``eps`` of run ``name`` is not finite or not of the shape of ``x``."""
    if eps.shape != x.shape:
        raise BenchError(
            f"{name}: the network returns {tuple(eps.shape)} for images {tuple(x.shape)}; "
            "a noise prediction has the shape of its image."
        )
    if not bool(torch.isfinite(eps).all()):
        raise BenchError(f"{name}: the network's prediction is not finite; train the run again.")
