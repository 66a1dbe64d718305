"""Read a network that was trained elsewhere from its files: tensors and settings, never code.

Safetensors, or torch files whose content is tensors alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.support.tensor_files import tensors

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # diffusers' word -> ours
KINDS = ("UNet2DModel", "DiTTransformer2DModel")


@dataclass(frozen=True)
class Foreign:
    """Weights by their own names, and what their files say: class and configuration, prediction, betas (T,)."""

    file: Path
    weights: dict[str, Tensor]
    kind: str | None = None
    config: dict[str, Any] | None = None
    prediction: str | None = None
    betas: np.ndarray | None = None


def read(source: Path) -> Foreign:
    """Read a file of weights, or a folder of diffusers' ``save_pretrained``: a network's or a pipeline's.

    Raises BenchError for what is not there, damaged, of another kind, or holds code.
    """
    if source.is_file():
        return Foreign(source, tensors(source))
    if (source / "model_index.json").exists():
        return _pipeline(source)
    if not (source / "config.json").exists():
        raise BenchError(
            f"{source} is neither a file of weights nor a folder of diffusers with config.json or model_index.json; "
            "give one of these."
        )
    return _network(source)


def _network(folder: Path) -> Foreign:
    config = read_json(folder / "config.json")
    kind = config.get("_class_name")
    if kind not in KINDS:
        raise BenchError(
            f"{folder} holds a {kind}, which cannot be measured here; known: {', '.join(KINDS)}."
        )
    stem = "diffusion_pytorch_model"
    parts = sorted(folder.glob(f"{stem}-*-of-*.safetensors"))
    files = next(
        ([file] for file in (folder / f"{stem}.safetensors", folder / f"{stem}.bin") if file.exists()), parts
    )
    if not files:
        raise BenchError(
            f"{folder} holds no {stem}.safetensors; save the network again with save_pretrained."
        )
    weights = {f"network.{key}": value for file in files for key, value in tensors(file).items()}
    return Foreign(files[0], weights, kind, {k: v for k, v in config.items() if k != "_name_or_path"})


def _pipeline(folder: Path) -> Foreign:
    """Read the network of a pipeline, and what its scheduler says of the training."""
    found = [place for place in (folder / "unet", folder / "transformer") if (place / "config.json").exists()]
    if not found:
        raise BenchError(
            f"{folder} is a pipeline without unet/ or transformer/; give the folder of its network."
        )
    network, file = _network(found[0]), folder / "scheduler" / "scheduler_config.json"
    config = read_json(file)
    prediction = PREDICTIONS.get(config.get("prediction_type", "epsilon"))
    if prediction is None:
        known = ", ".join(PREDICTIONS)
        raise BenchError(
            f"{file}: prediction_type is {config['prediction_type']!r}, which is not supported; known: {known}."
        )
    betas = _betas(config, file)
    return Foreign(network.file, network.weights, network.kind, network.config, prediction, betas)


def _betas(config: dict[str, Any], file: Path) -> np.ndarray:
    """Return the betas of a scheduler, (T,) float64, as diffusers itself computes them."""
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    try:
        import diffusers
    except ModuleNotFoundError:
        raise BenchError(f"{file} needs the package 'diffusers'; install it first.") from None
    name = config.get("_class_name", "")
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise BenchError(f"{file}: diffusers has no scheduler {name!r}.")
    scheduler: Any = kind
    betas = getattr(scheduler.from_config(config), "betas", None)
    if betas is None:
        raise BenchError(
            f"{file}: a {name} has no betas, so its network is not a discrete diffusion, the only kind measured here."
        )
    return check_betas(betas.double().numpy(), file)


def check_betas(betas: np.ndarray, where: Path | str) -> np.ndarray:
    """Return betas (T,) as float64; raises BenchError unless each lies in (0, 1) and there are at least two."""
    if betas.ndim != 1 or len(betas) < 2 or betas.dtype.kind != "f" or not np.all((betas > 0) & (betas < 1)):
        raise BenchError(
            f"{where}: a noise schedule must be a list of betas in (0, 1); one that ends in pure noise has no estimate of "
            "the image there and cannot be measured."
        )
    return betas.astype(np.float64)
