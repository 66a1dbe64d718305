"""What a dataset's row knows about its files: which are missing, and which are not as distributed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.data.options import SOURCES, DatasetOptions, SourceFile
from bench.data.record import is_current
from bench.support import paths
from bench.support.errors import BenchError


def home_of(options: DatasetOptions) -> str:
    """Return `` from HOME``, or nothing."""
    return f" from {options.home}" if options.home else ""


def size_of(count: int) -> str:
    """Return a number of bytes in words."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def described(file: SourceFile) -> str:
    """Return a file's name, size and checksum as far as they are known."""
    known = [size_of(file.bytes)] if file.bytes is not None else []
    known += [f"sha256 {file.sha256}"] if file.sha256 else [f"md5 {file.md5}"] if file.md5 else []
    return Path(file.path).name + (f" ({', '.join(known)})" if known else "")


def unpacked(file: SourceFile, sources: Path) -> Path | None:
    """Return where the content of an archive lies once unpacked; None for a file that is used as it is."""
    return None if file.unpacks_to is None else (sources / file.path).parent / file.unpacks_to


def absent(options: DatasetOptions, sources: Path) -> list[SourceFile]:
    """Return the files of a row that are needed and not there, neither packed nor unpacked."""
    places = {file: (sources / file.path, unpacked(file, sources)) for file in options.files}
    return [file for file, found in places.items() if not any(path and path.exists() for path in found)]


def packed(options: DatasetOptions, sources: Path) -> bool:
    """Return whether an archive of the row is there and what it holds is not."""
    places = [(sources / file.path, unpacked(file, sources)) for file in options.files]
    return any(path.exists() and place is not None and not place.exists() for path, place in places)


def wanted(options: DatasetOptions, sources: Path) -> list[str]:
    """Return, for each file of the row that is not there, its name, size and checksum and where to put it."""
    return [f"{described(file)} into {(sources / file.path).parent}" for file in absent(options, sources)]


def state_of(name: str, options: DatasetOptions, sources: Path) -> list[str]:
    """Return what is to be done for a dataset, then the files that are missing."""
    folder = paths.dataset_folder(name)
    if is_current(folder, options):
        return ["built"]
    if (folder / "manifest.json").exists():
        return [f"built from other options, `bench data build {name}` builds it again"]
    if options.base:
        return [f"a view of {options.base}, `bench data build {name}` makes it"]
    if options.family:
        return [f"procedural, `bench data build {name}` draws it"]
    given = {key: getattr(options, key) for key in SOURCES}
    gone = [key for key, path in given.items() if path and not (sources / path).exists()]
    if not options.files and gone:
        return [sentence(gone[0], name, options, sources)]
    if files := wanted(options, sources):
        by_hand = any(file.url is None for file in absent(options, sources))
        how = "put there manually, then checked and unpacked by " if by_hand else "downloaded by "
        return [f"missing, {how}`bench data fetch {name}`{home_of(options)}:", *files]
    if gone or packed(options, sources):
        return [f"files are here, `bench data fetch {name}` checks and unpacks them"]
    return [f"source is here, `bench data build {name}` imports it"]


def sentence(key: str, name: str, options: DatasetOptions, sources: Path) -> str:
    """Say that a source is missing: which file to put where, its size and checksum, and from where."""
    given: str = getattr(options, key)
    path = sources / given
    start = f"{path} {'is not complete' if path.exists() else 'does not exist'}: "
    if not options.files:
        count = getattr(options, key.replace("source", "expected"))
        images = f"{count} images" if count else "images"
        elsewhere = (
            "" if Path(given).is_absolute() else f", or set BENCH_DATA to the folder that holds {given}"
        )
        return (
            f"{start}put the {images} of {name} ({options.title}) there{home_of(options)}, "
            f"as a folder, zip, tar, .npy, .npz or LMDB{elsewhere}."
        )
    files = absent(options, sources)
    if not files:
        return f"{start}unpack the files of {name} with `bench data fetch {name}`."
    listed = ", ".join(wanted(options, sources))
    if all(file.url for file in files):
        return f"{start}run `bench data fetch {name}`, or put {listed}{home_of(options)}."
    return f"{start}put {listed}{home_of(options)}, then run `bench data fetch {name}` to check and unpack."


def check_file(given: str, options: DatasetOptions, sources: Path) -> None:
    """Raise BenchError if a file that the row has a size or checksum of is another one."""
    for file in options.files:
        if file.path == given:
            check(sources / file.path, file, home_of(options))


def check(path: Path, file: SourceFile, origin: str = "") -> None:
    """Compare a file with what its row says; raises BenchError that names it and what it should be."""
    found = path.stat().st_size
    if file.bytes is not None and found != file.bytes:
        raise BenchError(f"{path} has {found} bytes, not {file.bytes}; fetch it again{origin}.")
    for kind in ("sha256", "md5"):
        known = getattr(file, kind)
        if known is not None:
            with path.open("rb") as handle:
                value = hashlib.file_digest(handle, kind).hexdigest()
            if value != known:
                raise BenchError(f"{path} has the {kind} {value}, not {known}; fetch it again{origin}.")
            return
