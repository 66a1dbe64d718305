"""The pools of imported images: sources found and checked, drawn from, converted, and freed of duplicates."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.data import duplicates, missing
from bench.data.conversion import check_depth, convert, refuse
from bench.data.dataset import content_hash
from bench.data.layouts import labels_from_file, labels_from_folders, open_layout
from bench.data.options import SOURCES, DatasetOptions
from bench.data.sources import Source, printable
from bench.data.storage import RAW, Rows
from bench.support.errors import BenchError
from bench.support.files import write_text
from bench.support.randomness import numpy_generator

NAMED = 100  # files that the manifest names; the counts are complete


@dataclass(frozen=True)
class Pool:
    """Images of one pool: rows of a converted array, their names and labels."""

    images: Rows
    names: list[str]
    labels: np.ndarray | None = None
    classes: list[str] | None = None

    def take(self, chosen: np.ndarray) -> Pool:
        """Return the pool with these of its images."""
        images = Rows(self.images.path, self.images.rows[chosen])
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, images=images, names=[self.names[i] for i in chosen], labels=labels)


def import_pools(
    name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int
) -> tuple[dict[str, Pool], dict]:
    """Return the pools of real images by name, and what the manifest says of them; their duplicates are listed
    in ``folder``.

    The pools are drawn before anything is decoded, so that a capped pool costs what it holds; a file that
    is skipped leaves its pool smaller.  A dataset without validation images has no such pool.
    """
    pools: dict[str, Pool] = {}
    found: dict = {"skipped": {"count": 0, "files": []}, "sources": {}}
    opened = {key: _open(key, name, options, sources) for key in SOURCES if getattr(options, key)}
    for key, source in opened.items():
        if options.labels == "folder":
            labels, classes = labels_from_folders(source, opened["source"].classes)
            source = opened[key] = replace(source, labels=labels, classes=classes)
        drawn = _draw(key, source, options)
        chosen = np.sort(np.concatenate([*drawn.values()]))
        converted, skipped = _convert(key, source.take(chosen), options, folder / RAW, workers)
        found["skipped"]["count"] += len(skipped)
        found["skipped"]["files"] += skipped[: NAMED - len(found["skipped"]["files"])]
        found["sources"][key] = {
            "path": getattr(options, key),
            "images": len(converted.names),
            "content_sha256": _check_content(key, source.path, converted.images, options),
        }
        for pool, rows in drawn.items():
            pools[pool] = converted.take(np.flatnonzero(np.isin(chosen[converted.images.rows], rows)))
            if not pools[pool].names:
                raise BenchError(f"No image of the {pool} pool could be used; {skipped[-1]}.")
    return pools, found | {"duplicates": _drop_duplicates(name, options, pools, folder)}


def _open(key: str, name: str, options: DatasetOptions, sources: Path) -> Source:
    """Open a source of the row; raises BenchError that says what to put where if it is not there."""
    given: str = getattr(options, key)
    path = sources / given
    if not path.exists():
        raise BenchError(missing.sentence(key, name, options, sources))
    missing.check_file(given, options, sources)
    try:
        source = open_layout(path, options.layout, key != "source")
    except BenchError as error:
        if missing.absent(options, sources) or missing.packed(options, sources):
            raise BenchError(f"{missing.sentence(key, name, options, sources)} ({error})") from error
        raise
    expected = getattr(options, key.replace("source", "expected"))
    if expected is not None and len(source.names) != expected:
        raise BenchError(
            f"{path} holds {len(source.names)} images, {name} has {expected}; fetch the complete file."
        )
    if source.refused and options.on_error == "fail":
        more = f" (and {len(source.refused) - 1} more)" if len(source.refused) > 1 else ""
        raise BenchError(f"{source.refused[0]}{more}; take it out of the source, or set on_error: skip.")
    file = getattr(options, key.replace("source", "labels"))
    if file not in (None, "folder"):
        return replace(source, labels=labels_from_file(sources / file, source))
    return source


def _draw(key: str, source: Source, options: DatasetOptions) -> dict[str, np.ndarray]:
    """Return the rows of a source that belong to each of its pools: test first, then validation, then train."""
    stream = {"source": "split", "test_source": "test split", "validation_source": "validation split"}[key]
    order = numpy_generator(options.seed, stream).permutation(len(source.names))
    drawn = {}
    for pool in ("test", "validation", "train"):
        if options.source_of(pool) != key:
            continue
        count = getattr(options, pool) or len(order)
        if count > len(order):
            raise BenchError(
                f"{source.path} has {len(order)} of its {len(source.names)} images left for {pool}, fewer than "
                f"{pool} = {count}; ask for fewer."
            )
        if len(order) == 0:
            raise BenchError(f"{source.path} has no images left for {pool}; lower test or validation.")
        drawn[pool], order = order[:count], order[count:]
    return drawn


def _convert(
    key: str, source: Source, options: DatasetOptions, folder: Path, workers: int
) -> tuple[Pool, list[str]]:
    """Convert a source into an array; return its images as one pool, and what was skipped."""
    skipped = [refuse(reason, options, number) for number, reason in enumerate(source.refused)]
    check_depth(source, options)
    path = folder / f"{key}.npy"
    rows, failed = convert(source, options, path, f"{options.title} {key}", workers)
    labels = None if source.labels is None else source.labels[rows]
    names = [source.names[row] for row in rows]
    return Pool(Rows(path, rows), names, labels, source.classes), skipped + failed


def _check_content(key: str, path: Path, images: Rows, options: DatasetOptions) -> str:
    found, known = content_hash(images), options.content_sha256.get(key)
    if known is not None and found != known:
        raise BenchError(
            f"{path} decodes to the content hash {found}, not {known} as its row says: the images, or Pillow's "
            "decoders, are not the same; fetch it again, or change content_sha256."
        )
    return found


def _drop_duplicates(name: str, options: DatasetOptions, pools: dict[str, Pool], folder: Path) -> dict:
    """Drop the images that two pools share from one of them; list all such pairs in ``duplicates.csv``."""
    order = (
        ("train", "test", "validation") if options.drop_from == "test" else ("test", "validation", "train")
    )
    repeats, within = duplicates.find({pool: pools[pool].images for pool in order if pool in pools})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["pool", "image", "other_pool", "other_image", "rms"])
    for pool, i, other, j, rms in repeats:
        table.writerow([pool, pools[pool].names[i], other, pools[other].names[j], f"{rms:.2f}"])
    write_text(folder / "duplicates.csv", printable(text.getvalue()))
    dropped = {(r.pool, r.index) for r in repeats if r.rms == 0 or options.near_duplicates == "drop"}
    for pool, images in list(pools.items()):
        kept = [i for i in range(len(images.names)) if (pool, i) not in dropped]
        if not kept:
            raise BenchError(
                f"{name}: every {pool} image is in another pool too; give another source, or another drop_from."
            )
        pools[pool] = images.take(np.array(kept))
    return duplicates.counts(repeats, within, dropped)
