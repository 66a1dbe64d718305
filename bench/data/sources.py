"""Where real images come from: a folder, archive, array or LMDB; listed, checked, read one by one.

Archives are read member by member and never unpacked, so a path in them cannot leave a folder; such a path
is refused all the same.  Every source is read in bounded memory, whatever the number of its images.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench.support.errors import BenchError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
# Labels and notes that real datasets carry beside their images; everything else unknown is refused.
COMPANIONS = {".md", ".csv", ".json", ".xml", ".mat"}
MAX_BYTES = 256 * 2**20  # of one file, uncompressed
DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError)
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class Reader:
    """Reads one image by its key (bytes of a file, or a uint8 array); travels to worker processes."""

    sequential = False  # keys must be read in order, by one process
    decoded = False  # gives arrays: there is nothing that other processes could decode

    def read(self, key: Any) -> bytes | np.ndarray:
        """Return what is stored under ``key``; raises BenchError or OSError."""
        raise OSError(f"nothing is stored under {key!r}")

    def __getstate__(self) -> dict:
        """Leave open files behind: each process opens its own."""
        return {name: value for name, value in vars(self).items() if name not in ("handle", "images", "next")}


@dataclass(frozen=True)
class Source:
    """The images of one source, sorted by name: names, keys for the reader, and what is no image."""

    path: Path
    names: list[str]
    keys: Sequence[Any]
    reader: Reader
    refused: list[str] = field(default_factory=list)  # one sentence for each file that is no image
    labels: np.ndarray | None = None  # (n,) classes or (n, attributes)
    classes: list[str] | None = None  # names of the classes, or of the attributes

    def take(self, rows: np.ndarray) -> Source:
        """Return the source with these images only, in this order."""
        labels = None if self.labels is None else self.labels[rows]
        names = [self.names[row] for row in rows]
        keys = names if self.keys is self.names else [self.keys[row] for row in rows]
        return replace(self, names=names, keys=keys, labels=labels)

    def order(self) -> range | list[int]:
        """Return the positions in the order in which they are read fastest."""
        if self.reader.sequential:
            return sorted(range(len(self.keys)), key=self.keys.__getitem__)
        return range(len(self.keys))

    def shown(self, position: int) -> str:
        """Return the name of an image for messages, printable whatever its bytes."""
        between = "/" if self.path.is_dir() else ": "
        return printable(f"{self.path}{between}{self.names[position]}")


def printable(text: str) -> str:
    """Return a file name without surrogates, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def open_source(path: Path) -> Source:
    """List the images of a folder (recursively), zip, tar, ``.npy``, ``.npz`` or LMDB, sorted by name.

    Raises BenchError where nothing is there or it holds no images, a path or link leads out, a name stands
    twice, or an archive or array is damaged.  Files that are no images are listed in ``refused``.
    """
    try:
        if (path / "data.mdb").is_file():
            from bench.data.lmdb_source import lmdb_source

            return lmdb_source(path)
        if path.is_dir():
            return _folder(path)
        if path.suffix == ".npy":
            return _npy(path)
        if path.suffix == ".npz":
            return _npz(path)
        if zipfile.is_zipfile(path):
            return _zip(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    except DAMAGED as error:
        raise BenchError(
            f"{path} cannot be read: it is damaged or truncated ({error}); fetch it again."
        ) from error
    raise BenchError(
        f"{path} is neither a folder (of images, or an LMDB) nor a whole zip, tar, .npy or .npz file; "
        "give one of these."
    )


def _source(path: Path, entries: dict[str, Any], reader: Reader) -> Source:
    """Sort the entries by name; tell images from companions and from what is neither."""
    names, refused = [], []
    for name in sorted(entries):
        pure = PurePosixPath(name)
        suffix = pure.suffix.lower()
        if pure.name.startswith(".") or "__MACOSX" in pure.parts or suffix in COMPANIONS:
            continue
        if suffix in IMAGE_SUFFIXES:
            names.append(name)
        else:
            refused.append(f"{printable(f'{path}: {name!r}')} is not an image")
    if not names:
        raise BenchError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    if isinstance(reader, (FolderReader, ZipReader)):  # one list serves as both: there may be millions
        return Source(path, names, names, reader, refused)
    return Source(path, names, [entries[name] for name in names], reader, refused)


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise BenchError(f"{name} unpacks to {size} bytes, more than {MAX_BYTES}; it is refused.")


class FolderReader(Reader):
    """Files of a folder; a key is the path in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes:
        """Return the file's bytes."""
        path = os.path.join(self.path, key)  # noqa: PTH118 - pathlib takes as long as the reading
        with open(path, "rb") as file:  # noqa: PTH123
            _check_size(path, os.fstat(file.fileno()).st_size)
            return file.read()


def _folder(path: Path) -> Source:
    root = path.resolve()
    return _source(path, {name: name for name in _walk(path, root)}, FolderReader(path))


def _walk(folder: Path, root: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                raise BenchError(f"{entry.path} is a link that leaves {root}; copy the file there instead.")
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name


def check_members(path: Path, names: list[str]) -> None:
    """Raise BenchError for a name that leads out of the archive, or one that stands twice."""
    seen = set()
    for name in names:
        pure = PurePosixPath(name.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or name[1:2] == ":":
            raise BenchError(
                f"{path}: the member {printable(name)!r} points out of the archive; it is refused."
            )
        if name in seen:
            raise BenchError(f"{path}: two members are named {printable(name)!r}; rename one.")
        seen.add(name)


class ZipReader(Reader):
    """Members of a zip archive; a key is the member's name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes:
        """Return the member's bytes, its checksum verified."""
        if "handle" not in vars(self):
            self.handle = zipfile.ZipFile(self.path)
        _check_size(f"{self.path}: {key}", self.handle.getinfo(key).file_size)
        return self.handle.read(key)


def _zip(path: Path) -> Source:
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
    check_members(path, [info.filename for info in files])
    for info in files:
        if info.flag_bits & 1:
            raise BenchError(
                f"{path}: {printable(info.filename)!r} is encrypted; unpack the archive and give the folder."
            )
    return _source(path, {info.filename: info.filename for info in files}, ZipReader(path))


class TarReader(Reader):
    """Members of a tar archive; a key is (offset of the data, size). A compressed one is read in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            head = file.read(6)
        self.opener = next((o for magic, o in OPENERS.items() if head.startswith(magic)), open)
        self.sequential = self.opener is not open

    def read(self, key: tuple[int, int]) -> bytes:
        """Return the member's bytes."""
        if "handle" not in vars(self):
            self.handle = self.opener(self.path, "rb")
        offset, size = key
        _check_size(f"a member of {self.path}", size)
        self.handle.seek(offset)
        return self.handle.read(size)


def _tar(path: Path) -> Source:
    entries, names = {}, []
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            names.append(member.name)
            if member.issym() or member.islnk() or member.issparse():
                raise BenchError(
                    f"{path}: {printable(member.name)!r} is a link or sparse; store the file itself."
                )
            if member.isfile():
                entries[member.name] = (member.offset_data, member.size)
            archive.members = []  # else every header stays in memory
        # a tar that was cut between two members still lists; only the block of zeros at its end is missing
        if archive.fileobj.tell() <= archive.offset:
            raise tarfile.ReadError("its end is missing")
    check_members(path, names)
    return _source(path, entries, TarReader(path))


class NpyReader(Reader):
    """Images of one ``.npy`` array, memory-mapped; a key is the index."""

    decoded = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: int) -> np.ndarray:
        """Return the image, (height, width) or (height, width, channels) uint8."""
        if "images" not in vars(self):
            self.images = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return np.asarray(self.images[key])


def _npy(path: Path) -> Source:
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    return _array(path, images.shape, images.dtype, NpyReader(path))


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype, reader: Reader) -> Source:
    if dtype != np.uint8:
        raise BenchError(f"{path} has the dtype {dtype}; images must be uint8, 0 to 255.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or 0 in shape:
        raise BenchError(
            f"{path} has the shape {tuple(shape)}; images must be (n, height, width, 1, 3 or 4), channels last."
        )
    return Source(path, [f"image {i}" for i in range(shape[0])], range(shape[0]), reader)


class NpzReader(Reader):
    """Images of the one image array in an ``.npz`` file, read through in order; a key is the index."""

    sequential = decoded = True

    def __init__(self, path: Path, member: str, shape: tuple[int, ...]) -> None:
        self.path, self.member, self.shape = path, member, shape

    def read(self, key: int) -> np.ndarray:
        """Return the image, (height, width) or (height, width, channels) uint8."""
        if "handle" not in vars(self):
            archive = zipfile.ZipFile(self.path)
            self.handle = archive.open(self.member)
            read_header(self.handle)
            self.next = 0
        size = int(np.prod(self.shape[1:]))
        while self.next < key:  # images that are left out
            self.handle.read(size)
            self.next += 1
        data = self.handle.read(size)
        self.next += 1
        if len(data) < size:
            raise OSError(f"the array ends at image {key}")
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])


def read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _npz(path: Path) -> Source:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                found[name] = read_header(file)
    images = {name: header for name, header in found.items() if len(header[0]) >= 3}
    if len(images) != 1:
        raise BenchError(
            f"{path} must hold one array of images, not {len(images)} (it has {', '.join(found)})."
        )
    [(name, (shape, fortran, dtype))] = images.items()
    if fortran:
        raise BenchError(f"{path}: {name} is in Fortran order; save np.ascontiguousarray(images).")
    return _array(path, shape, dtype, NpzReader(path, name, shape))
