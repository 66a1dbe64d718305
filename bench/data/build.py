"""From a row of options to a dataset folder: pools, duplicates, hashes, manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data.dataset import content_hash, joint_hash, open_dataset
from bench.data.options import POOLS, DatasetOptions, check_name
from bench.data.pools import import_pools
from bench.data.procedural import START, draw, round_to_uint8
from bench.data.storage import ArrayWriter, Rows, workshop
from bench.data.views import seen
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import write_json
from bench.support.fingerprint import fingerprint
from bench.support.options import to_dict

BLOCK = 256  # images that are drawn or transformed together

Images = Callable[[int, int], np.ndarray]  # (first, number) -> some images of a pool


def sources_folder() -> Path:
    """Return the folder that ``source`` is relative to: ``BENCH_DATA``, or ``data/``."""
    return Path(os.environ.get("BENCH_DATA") or "data")


def build_dataset(
    name: str, options: DatasetOptions, folder: Path, sources: Path | None = None, workers: int = 1
) -> dict:
    """Build a dataset into ``folder`` and return its manifest; the same options give the same bytes.

    ``sources`` is the folder that the option ``source`` is relative to (default :func:`sources_folder`).
    The base of a variant lies beside ``folder``.  Everything is made in a hidden folder there; a kill leaves
    it, and the same call resumes after what was converted.  Raises BenchError for bad sources, a pool too
    small, a folder that cannot be written, and while another process builds the same dataset.
    """
    check_name(name)
    sources = sources_folder() if sources is None else Path(sources)
    try:
        with workshop(folder) as temporary:
            if options.base is not None:
                pools, more = _derive(name, options, temporary, folder.with_name(options.base))
            elif options.family is not None:
                pools, more = _draw(options), {}
            else:
                pools, more = _import(name, options, temporary, sources, workers)
            for pool in POOLS:
                count, images = pools.get(pool, (0, None))
                _write(temporary / f"{pool}.npy", count, images, options, f"{name} {pool}")
            manifest = _manifest(name, options, temporary, more)
            write_json(temporary / "manifest.json", manifest)
    except OSError as error:
        raise BenchError(
            f"Cannot write {folder}: {error.strerror or error}; free space or choose another."
        ) from error
    open_dataset(folder)  # notes that the content was verified
    return manifest


def _manifest(name: str, options: DatasetOptions, folder: Path, more: dict) -> dict:
    shape = [options.resolution, options.resolution, options.channels]
    hashes = {pool: content_hash(Rows(folder / f"{pool}.npy")) for pool in POOLS}
    content = joint_hash(hashes["train"], hashes["test"], shape)
    if options.sha256 is not None and content != options.sha256:
        raise BenchError(
            f"{name} has the content hash {content}, not {options.sha256} as its row says: source, options "
            "or Pillow's decoders are not the same; correct or remove the row's sha256."
        )
    return {
        "name": name,
        "title": options.title,
        "version": options.version,
        "resolution": options.resolution,
        "channels": options.channels,
        "dtype": options.dtype,
        **{pool: len(Rows(folder / f"{pool}.npy")) for pool in POOLS},
        "sha256": content,
        **{f"{pool}_sha256": value for pool, value in hashes.items()},
        "redistribute": options.redistribute,
        "licence": options.licence,
        "home": options.home,
        **{"base_sha256": None, "labels": None, "duplicates": None, "sources": {}},
        "skipped": {"count": 0, "files": []},
        **more,
        "made": to_dict(options),
        "code": fingerprint(__name__),
    }


def _write(path: Path, count: int, images: Images | None, options: DatasetOptions, title: str) -> None:
    """Write the images of a pool, block by block."""
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(path, count, shape, options.dtype) as writer,
        Progress(count, title, "image") as progress,
    ):
        for first in range(0, count if images else 0, BLOCK):
            made = images(first, min(BLOCK, count - first))  # type: ignore[misc]
            writer.put(first, made)
            progress.advance(len(made))


def _draw(options: DatasetOptions) -> dict[str, tuple[int, Images]]:
    """Return size and images of each pool of a procedural family."""

    def images(start: int) -> Images:
        def drawn(first: int, number: int) -> np.ndarray:
            some = draw(options, start + first, number)
            return round_to_uint8(some) if options.dtype == "uint8" else some

        return drawn

    return {pool: (getattr(options, pool), images(START[pool])) for pool in POOLS}


def _seen(whole: np.ndarray | Rows, options: DatasetOptions) -> tuple[int, Images]:
    """Return size and images of a pool as the row's variant and at its resolution."""
    return len(whole), lambda first, number: seen(whole[first : first + number], options)


def _import(
    name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int
) -> tuple[dict[str, tuple[int, Images]], dict]:
    """Import real images; return size and images of each pool, and what the manifest says of them."""
    pools, more = import_pools(name, options, folder, sources, workers)
    labels = {}
    for pool, found in pools.items():
        if found.labels is not None:
            np.save(folder / f"{pool}_labels.npy", found.labels)
            labels[f"{pool}_sha256"] = content_hash(found.labels)
    names = {"names": pools["train"].classes, **labels} if labels else None
    return {pool: _seen(found.images, options) for pool, found in pools.items()}, more | {"labels": names}


def _derive(
    name: str, options: DatasetOptions, folder: Path, base_folder: Path
) -> tuple[dict[str, tuple[int, Images]], dict]:
    """Return size and images of each pool of a variant, and what the manifest says of them."""
    base = open_dataset(base_folder)
    _check_base(name, options, base.manifest, base_folder)
    for file in base_folder.glob("*_labels.npy"):
        shutil.copyfile(file, folder / file.name)
    kept = {key: base.manifest[key] for key in ("duplicates", "skipped", "sources", "labels")}
    pools = {pool: _seen(getattr(base, pool), options) for pool in POOLS}
    return pools, kept | {"base_sha256": base.manifest["sha256"]}


def _check_base(name: str, options: DatasetOptions, base: dict, folder: Path) -> None:
    if base["made"]["base"] or base["made"]["variant"]:
        raise BenchError(f"{folder} is itself a variant; give {name} the dataset that it is made of.")
    if options.resolution > base["resolution"]:
        raise BenchError(
            f"{name} has the resolution {options.resolution}, more than the {base['resolution']} of its base "
            f"{options.base}; import the source again at {options.resolution}."
        )
    if options.channels != base["channels"] and options.variant != "grey":
        raise BenchError(
            f"{name} has {options.channels} channels, its base {options.base} has {base['channels']}; "
            "leave channels out, or set variant: grey."
        )
