"""Files of weights that others wrote: tensors by name, never code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.support.errors import BenchError

NESTED = ("ema", "state_dict", "model")  # where training checkpoints keep the weights, the average first


def tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or torch file by name; raises BenchError where it holds anything else."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise BenchError(f"{file} is damaged or not a weights file ({first}); copy it again.") from error
    except pickle.UnpicklingError as error:
        raise BenchError(
            f"{file} holds pickled code or objects beside its tensors, and code from elsewhere is not run here; in the "
            "project that wrote it, save the network's state_dict() with safetensors.torch.save_file and give that file."
        ) from error
    while isinstance(found, Mapping) and (inner := next((k for k in NESTED if k in found), None)):
        found = found[inner]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BenchError(f"{file} holds no weights by name; save the network's state_dict() alone.")
    return {key.removeprefix("module."): value for key, value in found.items()}
