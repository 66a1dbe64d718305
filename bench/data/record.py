"""What a dataset's folder says of itself, without its arrays: is it current, and how many images has each pool?"""

from __future__ import annotations

import zipfile
from pathlib import Path

from bench.data.options import POOLS, DatasetOptions
from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.support.options import to_dict


def is_current(folder: Path, options: DatasetOptions, code: str | None = None) -> bool:
    """Return whether ``folder`` holds what these options and this code give, by its own record.

    ``code`` is the fingerprint of the rule ``dataset``; None asks for the options alone.  A variant is out of date
    if its base was rebuilt.
    """
    made = _manifest(folder)
    if made.get("made") != to_dict(options) or code not in (None, made.get("code")):
        return False
    if not all((folder / f"{pool}.npy").exists() for pool in POOLS):
        return False
    return (
        options.base is None or _manifest(folder.parent / options.base).get("sha256") == made["base_sha256"]
    )


def is_order_current(path: Path, dataset_folder: Path, code: str) -> bool:
    """Return whether ``path`` holds a shuffle's order of this dataset that this code (a fingerprint) drew."""
    import numpy as np  # the plan is read without it

    made = _manifest(dataset_folder)
    try:
        with np.load(path, allow_pickle=False) as file:
            same = str(file["sha256"]) == made.get("sha256") and str(file["code"]) == code
            return same and len(file["validation"]) == made["validation"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False


def pool_sizes(folder: Path, options: DatasetOptions) -> dict[str, int | None]:
    """Return how many images each pool has, by the manifest if ``folder`` was built with these options.

    Before that by its base's, or by the row; None if only the source can tell.  An import may lose some more
    to duplicates and files that do not decode.
    """
    made = _manifest(folder)
    if made.get("made") != to_dict(options):
        made = _manifest(folder.parent / options.base) if options.base else {}
    return {pool: made[pool] if made else _expected(pool, options) for pool in POOLS}


def _expected(pool: str, options: DatasetOptions) -> int | None:
    """Return the size of a pool as its row says it."""
    key = None if options.family else options.source_of(pool)
    if key is None or getattr(options, pool):
        return getattr(options, pool)
    whole = getattr(options, key.replace("source", "expected"))
    others = [getattr(options, other) for other in POOLS if other != pool and options.source_of(other) == key]
    return None if whole is None or None in others else whole - sum(others)


def _manifest(folder: Path) -> dict:
    try:
        return read_json(folder / "manifest.json")
    except BenchError:
        return {}
