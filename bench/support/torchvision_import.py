"""Let torchvision be imported beside a CPU build of torch.

PyPI's torchvision wheels are CUDA builds.  Beside a CPU torch their compiled library cannot load, its
operator schemas stay unknown, and ``import torchvision`` then fails when it registers a fake kernel for
``nms``.  clean-fid imports torchvision, so the two schemas are declared first, only if they are missing.
Transforms, datasets and models work afterwards; the compiled operators of ``torchvision.ops`` do not.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_kept: list[torch.library.Library] = []  # the schemas live as long as this reference


def ensure_torchvision() -> bool:
    """Make ``import torchvision`` work; return whether its compiled operators are there."""
    if "torchvision" in sys.modules:
        return not _kept
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.submodule_search_locations is not None  # a required package
    folder = Path(spec.submodule_search_locations[0])
    try:
        for library in folder.glob("_C*.so"):
            torch.ops.load_library(str(library))
        return True
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        return False
