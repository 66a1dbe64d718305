"""The pools of imported images: sources found and checked, converted, split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.data import missing
from bench.data.conversion import check_depth, convert, refuse
from bench.data.dataset import content_hash
from bench.data.layouts import labels_from_file, labels_from_folders, open_layout
from bench.data.options import POOLS, SOURCES, DatasetOptions
from bench.data.sources import Source
from bench.data.storage import Rows
from bench.support.errors import BenchError
from bench.support.randomness import numpy_generator


@dataclass
class Record:
    """What is noted while a dataset is built."""

    skipped: list[str] = field(default_factory=list)
    sources: dict[str, dict] = field(default_factory=dict)


@dataclass(frozen=True)
class Pool:
    """Images of one pool before the last ones are dropped: rows of a converted array, in order of names."""

    path: Path
    rows: np.ndarray
    names: list[str]
    labels: np.ndarray | None = None
    classes: list[str] | None = None

    @property
    def images(self) -> Rows:
        """The images, read where they are asked for."""
        return Rows(self.path, self.rows)

    def take(self, chosen: np.ndarray) -> Pool:
        """Return the pool with these of its images."""
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, rows=self.rows[chosen], names=[self.names[i] for i in chosen], labels=labels)


def import_pools(
    name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int, record: Record
) -> dict[str, Pool]:
    """Convert the sources into arrays in ``folder`` and return the pools of them, by name.

    The pools are drawn before anything is decoded, so that a capped pool costs what it holds; a file that
    is skipped leaves its pool smaller.  A dataset without validation images has no such pool.
    """
    found: dict[str, Pool] = {}
    opened = {key: _locate(key, name, options, sources) for key in SOURCES if getattr(options, key)}
    for key, source in opened.items():
        if key != "source" and options.labels == "folder":
            source = replace(source, labels=labels_from_folders(source, opened["source"].classes)[0])
        drawn = _draw(key, source, options)
        chosen = np.sort(np.concatenate([*drawn.values()]))
        converted = _convert(key, source.take(chosen), options, folder, workers, record)
        for pool, rows in drawn.items():
            found[pool] = converted.take(np.flatnonzero(np.isin(chosen[converted.rows], rows)))
            if len(found[pool].rows) == 0:
                raise BenchError(f"No image of the {pool} pool could be used; {record.skipped[-1]}.")
    return {pool: found[pool] for pool in POOLS if pool in found}


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
                f"{source.path} has {len(order)} images for {pool}, fewer than {pool} = {count}; lower it."
            )
        if len(order) == 0:
            raise BenchError(f"{source.path} has no images left for {pool}; lower test or validation.")
        drawn[pool], order = order[:count], order[count:]
    return drawn


def _locate(key: str, name: str, options: DatasetOptions, sources: Path) -> Source:
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
        raise BenchError(f"{path} holds {len(source.names)} images, {name} has {expected}; fetch it whole.")
    if source.refused and options.on_error == "fail":
        more = f" (and {len(source.refused) - 1} more)" if len(source.refused) > 1 else ""
        raise BenchError(f"{source.refused[0]}{more}; take it out of the source, or set on_error: skip.")
    if key == "source" and options.labels == "folder":
        labels, classes = labels_from_folders(source)
        return replace(source, labels=labels, classes=classes)
    file = getattr(options, key.replace("source", "labels"))
    if file not in (None, "folder"):
        return replace(source, labels=labels_from_file(sources / file, source))
    return source


def _convert(
    key: str, source: Source, options: DatasetOptions, folder: Path, workers: int, record: Record
) -> Pool:
    """Convert a source into ``KEY.raw.npy``; return its images as one pool."""
    for reason in source.refused:
        record.skipped.append(refuse(reason, options, len(record.skipped)))
    check_depth(source, options)
    path = folder / f"{key}.raw.npy"
    rows, failed = convert(source, options, path, f"{options.title} {key}", workers)
    record.skipped += failed
    labels = None if source.labels is None else source.labels[rows]
    pool = Pool(path, rows, [source.names[row] for row in rows], labels, source.classes)
    found, known = content_hash(pool.images), options.content_sha256.get(key)
    if known is not None and found != known:
        raise BenchError(
            f"{source.path} decodes to the content hash {found}, not {known} as its row says: the images, or "
            "Pillow's decoders, are not the same; fetch it again, or change content_sha256."
        )
    record.sources[key] = {"path": getattr(options, key), "images": len(rows), "content_sha256": found}
    return pool
