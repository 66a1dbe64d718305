"""Where real images come from: a folder, archive, array or LMDB; listed, checked, read one by one.

Archives are read member by member and never unpacked, so a path in them cannot leave a folder; such a path
is refused all the same.  Every source but an ``.npz`` is read in bounded memory, whatever the number of its images.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from bench.support.console import say
from bench.support.errors import BenchError

# Labels and notes that real datasets carry beside their images; everything else unknown is refused.
COMPANIONS = {".md", ".csv", ".json", ".xml", ".mat"}
# What systems, file managers, sync tools and notebooks leave behind: a folder or file of such a name holds no data.
SERVICE = re.compile(
    r"^\.(?!\.?$)|^~\$|~$|^__(MACOSX|pycache__)$|^lost\+found$|^\$?recycle(r|\.bin)$|^System Volume Information$"
    r"|^[@#](eaDir|recycle|tmp|sharebin|snapshot|Recently-Snapshot)$|^(eh)?thumbs\.db$|^desktop\.ini$|^icon\r$"
    r"|\.sync-conflict-|conflicted copy|_conflict-\d|\.(tmp|part|crdownload)$",
    re.IGNORECASE,
)
MAX_BYTES = 256 * 2**20  # of one file, uncompressed
DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError)
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

Read = Callable[[Any], bytes | np.ndarray]


@dataclass(frozen=True)
class Source:
    """The images of one source, sorted by name: names, keys, and how to read what is stored under a key."""

    path: Path
    names: list[str]
    keys: Sequence[Any]
    read: Read  # the bytes of a file, or a uint8 array
    ordered: bool = False  # a key is read fastest after the one before it
    threads: bool = False  # several may be read at the same time
    refused: list[str] = field(default_factory=list)  # one sentence for each file that is not an image
    labels: np.ndarray | None = None  # (n,) classes or (n, attributes)
    classes: list[str] | None = None  # names of the classes, or of the attributes

    def take(self, rows: np.ndarray) -> Source:
        """Return the source with these images only, in this order."""
        labels = None if self.labels is None else self.labels[rows]
        names, keys = ([part[row] for row in rows] for part in (self.names, self.keys))
        return replace(self, names=names, keys=keys, labels=labels)

    def order(self) -> list[int]:
        """Return the positions in the order in which they are read fastest."""
        count = range(len(self.keys))
        return sorted(count, key=self.keys.__getitem__) if self.ordered else list(count)

    def shown(self, position: int) -> str:
        """Return the name of an image for messages, printable whatever its bytes."""
        between = "/" if self.path.is_dir() else ": "
        return printable(f"{self.path}{between}{self.names[position]}")


def printable(text: str) -> str:
    """Return a file name without surrogates, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def open_source(path: Path) -> Source:
    """List the images of a folder (recursively), zip, tar, ``.npy``, ``.npz`` or LMDB, sorted by name.

    Raises BenchError if nothing is there or it holds no images, a path or link leads out, two images have
    one name, or an archive or array is damaged.  Files that are not images are listed in ``refused``; what
    systems and tools leave behind is left out with a line.
    """
    try:
        if (path / "data.mdb").is_file():
            return _lmdb(path)
        if path.is_dir():
            return _folder(path)
        if path.suffix in (".npy", ".npz"):
            return _arrays(path)
        if zipfile.is_zipfile(path):
            return _zip(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    except DAMAGED as error:
        raise BenchError(
            f"{path} cannot be read: it is damaged or truncated ({error}); fetch it again."
        ) from error
    raise BenchError(
        f"{path} is neither a folder (of images, or an LMDB) nor a complete zip, tar, .npy or .npz file; "
        "give one of these."
    )


@functools.cache
def _suffixes() -> frozenset[str]:
    """Return the endings of all formats that Pillow reads."""
    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _is_image(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).close()
    except Exception:  # Pillow's plugins raise many kinds for what they do not know
        return False
    return True


def _is_service(name: str) -> bool:
    return any(SERVICE.search(part) for part in PurePosixPath(name).parts)


def _source(path: Path, entries: list[tuple[str, Any]], read: Read, pure: bool = False, **how: Any) -> Source:
    """Sort the (name, key) entries by name; tell images from companions, service files and what is neither.

    A file with an unknown ending, or none, is an image where Pillow knows its content; in a ``pure`` source
    everything is meant to be one.
    """
    # Windows writes backslashes into a zip, and tar a leading dot
    entries = [(name.replace("\\", "/").removeprefix("./"), key) for name, key in entries]
    _check_names(path, [name for name, _ in entries])
    left_out = [name for name, _ in entries if _is_service(name)]
    if left_out:
        say(
            f"{path}: {len(left_out)} hidden or system files are skipped, for instance {printable(left_out[0])!r}"
        )
    source, unknown = Source(path, [], [], read, **how), {}
    for name, key in sorted(entries, key=lambda entry: entry[0]):
        suffix = PurePosixPath(name).suffix.lower()
        if name.endswith("/") or suffix in COMPANIONS or _is_service(name):
            continue
        if not pure and suffix not in _suffixes():
            unknown[key] = name
        source.names.append(name)
        source.keys.append(key)  # type: ignore[attr-defined]
    keys = sorted(unknown) if source.ordered else unknown
    refused = sorted(unknown[key] for key in keys if not _is_image(read(key)))
    if refused:
        rows = [i for i, name in enumerate(source.names) if name not in set(refused)]
        source = source.take(np.array(rows, np.int64))
    if not source.names:
        raise BenchError(f"{path} holds no images that Pillow reads.")
    return replace(source, refused=[f"{printable(f'{path}: {name!r}')} is not an image" for name in refused])


def _check_names(path: Path, names: list[str]) -> None:
    """Raise BenchError for a name that leads out of the archive, and for one that two members have."""
    seen = set()
    for name in names:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or name[1:2] == ":":
            raise BenchError(
                f"{path}: the member {printable(name)!r} points outside the archive; it is refused."
            )
        if name in seen:
            raise BenchError(f"{path}: two members are named {printable(name)!r}; rename one.")
        seen.add(name)


def _check_size(name: object, size: int) -> None:
    if size > MAX_BYTES:
        raise BenchError(f"{name} unpacks to {size} bytes, more than {MAX_BYTES}; it is refused.")


def _folder(path: Path) -> Source:
    root = path.resolve()

    def read(name: str) -> bytes:
        file = os.path.join(path, name)  # noqa: PTH118 - pathlib takes as long as the reading
        with open(file, "rb") as opened:  # noqa: PTH123
            _check_size(file, os.fstat(opened.fileno()).st_size)
            return opened.read()

    return _source(path, [(name, name) for name in _walk(path, root)], read, threads=True)


def _walk(folder: Path, root: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if _is_service(entry.name):
                yield name
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                raise BenchError(f"{entry.path} is a link that leaves {root}; copy the file there instead.")
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), root, f"{name}/")
            elif entry.is_file():
                yield name


def _zip(path: Path) -> Source:
    archive = zipfile.ZipFile(path)
    files = [info for info in archive.infolist() if not info.is_dir()]
    for info in files:
        if info.flag_bits & 1:
            raise BenchError(
                f"{path}: {printable(info.filename)!r} is encrypted; unpack the archive and give the folder."
            )

    def read(name: str) -> bytes:
        _check_size(f"{path}: {name}", archive.getinfo(name).file_size)
        return archive.read(name)

    return _source(path, [(info.filename, info.filename) for info in files], read)


def _tar(path: Path) -> Source:
    """List a tar; a key is (offset of the data, size).  A compressed one is read in order."""
    entries = []
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
            if (member.issym() or member.islnk() or member.issparse()) and not _is_service(member.name):
                raise BenchError(
                    f"{path}: {printable(member.name)!r} is a link or sparse; store the file itself."
                )
            if not member.isdir():
                entries.append((member.name, (member.offset_data, member.size)))
        # a tar that was cut between two members still lists; only the block of zeros at its end is missing
        if archive.fileobj.tell() <= archive.offset:
            raise tarfile.ReadError("its end is missing")
    with path.open("rb") as file:
        head = file.read(6)
    opener = next((o for magic, o in OPENERS.items() if head.startswith(magic)), open)
    handle = opener(path, "rb")  # type: ignore[operator]

    def read(key: tuple[int, int]) -> bytes:
        _check_size(f"a member of {path}", key[1])
        handle.seek(key[0])
        return handle.read(key[1])

    return _source(path, entries, read, ordered=opener is not open)


def _arrays(path: Path) -> Source:
    """List the one array of images in an ``.npy`` file, which is memory-mapped, or an ``.npz`` file, which is read."""
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(found, np.ndarray):
        return from_array(path, found)
    with found:
        arrays = {name: found[name] for name in found}
    images = [array for array in arrays.values() if array.ndim >= 3]
    if len(images) != 1:
        raise BenchError(
            f"{path} must hold one array of images, not {len(images)} (it has {', '.join(arrays)})."
        )
    return from_array(path, images[0])


def from_array(path: Path, images: np.ndarray) -> Source:
    """Return the source of an array; raises BenchError if it holds no uint8 images, channels last."""
    shape = images.shape
    if images.dtype != np.uint8:
        raise BenchError(f"{path} has the dtype {images.dtype}; images must be uint8, 0 to 255.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or 0 in shape:
        raise BenchError(
            f"{path} has the shape {shape}; images must be (n, height, width, 1, 3 or 4), channels last."
        )
    names = [f"image {i}" for i in range(shape[0])]
    return Source(path, names, range(shape[0]), images.__getitem__)


def _lmdb(path: Path) -> Source:
    """List a database of encoded images, as LSUN is distributed: the key is the name, the value is the file.

    Nothing is written, not even a lock file.
    """
    import lmdb

    try:
        environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)
    except lmdb.Error as error:
        raise OSError(str(error)) from error
    # pages beyond the end of a truncated file would kill the process (SIGBUS) when they are read
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    found = (path / "data.mdb").stat().st_size
    if found < needed:
        environment.close()
        raise OSError(f"data.mdb has {found} of {needed} bytes")
    transaction = environment.begin()
    with transaction.cursor() as cursor:
        entries = [(key.decode("utf-8", "surrogateescape"), key) for key in cursor.iternext(values=False)]
    return _source(path, entries, transaction.get, pure=True)
