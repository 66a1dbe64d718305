"""Labels of a source's images, from the folders that they lie in or from a file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from bench.data.sources import Source
from bench.support.errors import BenchError


def from_folders(source: Source, classes: list[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Return the class of each image, the first folder in its name, (n,), and the names of the classes.

    With ``classes`` given no other may occur.  Raises BenchError for an image in no folder.
    """
    folders = []
    for position, name in enumerate(source.names):
        first, *rest = PurePosixPath(name).parts
        if not rest:
            raise BenchError(
                f"{source.shown(position)} lies in no folder that could be its label; put each image into the "
                "folder of its class, or set labels: null."
            )
        folders.append(first)
    known = sorted(set(folders)) if classes is None else classes
    number = {folder: i for i, folder in enumerate(known)}
    if strange := sorted(set(folders) - set(known)):
        raise BenchError(f"{source.path} has the class {strange[0]!r}, which the training images lack.")
    return np.array([number[folder] for folder in folders], np.int64), known


def from_file(path: Path, source: Source) -> np.ndarray:
    """Read one integer for each image of a source, (n,) int64; raises BenchError where they do not fit."""
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(f"The labels {path} cannot be read ({error}); give a .npy file.") from error
    if labels.shape != (len(source.names),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise BenchError(
            f"{path} holds {labels.dtype} {labels.shape}; "
            f"labels must be {len(source.names)} integers from 0, one for each image of {source.path}."
        )
    return labels.astype(np.int64)
