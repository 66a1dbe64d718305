"""Getting the files of a row: download what has a public address, check everything, unpack archives.

Only ``bench data fetch`` comes here; nothing is downloaded unasked.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.data import missing
from bench.data.options import DatasetOptions, SourceFile
from bench.data.sources import DAMAGED, check_members
from bench.data.storage import exclusive
from bench.support.console import Progress, say
from bench.support.errors import BenchError

BLOCK = 2**20
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds before the second of them, then twice as long each time
TIMEOUT = 60.0  # seconds without a byte


def fetch(name: str, options: DatasetOptions, sources: Path) -> None:
    """Bring all files of a row into ``sources``; what is there is checked and left as it is.

    A download that broke off goes on where it stopped.  Raises BenchError for a file that a person must
    fetch (which, where to, size, checksum), one that is not as the row says, and a connection that stays away.
    """
    if not options.files:
        raise BenchError(f"{name} has no files to fetch in config/datasets.yaml; see `bench data list`.")
    say(f"{name}: {options.licence}; {options.home}")
    try:
        for file in options.files:
            _bring(file, options, sources)
    except OSError as error:
        raise BenchError(
            f"Cannot write into {sources}: {error.strerror or error}; free space or choose another."
        ) from error
    if missing.absent(options, sources):
        raise BenchError(missing.sentence("source", name, options, sources))


def _bring(file: SourceFile, options: DatasetOptions, sources: Path) -> None:
    path, place = sources / file.path, missing.unpacked(file, sources)
    if place is not None and place.exists():
        say(f"{place} is there")
        return
    if not path.exists():
        if file.url is None:
            return  # the sentence at the end names it
        download(file, path)
    say(f"{path}: checking")
    missing.check(path, file, missing.home_of(options))
    if (
        place is not None and "devkit" not in path.name
    ):  # ImageNet's is needed to unpack the validation images
        _unpack(path, place)
    say(f"{place or path} is there")


def download(file: SourceFile, path: Path) -> None:
    """Download a file to ``path`` through ``path.part``, which the next call goes on with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("ab") as out:
        if not exclusive(out.fileno()):
            raise BenchError(f"Another process is downloading {path}; wait until it has ended.")
        free = shutil.disk_usage(path.parent).free
        if file.bytes is not None and free < file.bytes - out.tell():
            raise BenchError(
                f"{path} needs {missing.size_of(file.bytes - out.tell())}, "
                f"{missing.size_of(free)} are free; free space or set BENCH_DATA."
            )
        _receive(file, out, path)
    try:
        missing.check(part, file)
    except BenchError as error:
        part.unlink()
        raise BenchError(f"{file.url} did not give the file of the row: {error}") from None
    part.replace(path)


def _receive(file: SourceFile, out: IO[bytes], path: Path) -> None:
    """Append to ``out`` until the file is whole, taking up the connection where it broke off."""
    attempts, error = 0, None
    with Progress(file.bytes or 0, path.name, "byte", start=out.tell()) as progress:
        while attempts < ATTEMPTS:
            before = out.tell()
            try:
                if _continue(str(file.url), out, progress):
                    return
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as found:
                error = found
                if isinstance(found, urllib.error.HTTPError) and found.code < 500:
                    break
            attempts = 0 if out.tell() > before else attempts + 1
            if 0 < attempts < ATTEMPTS:
                time.sleep(PAUSE * 2 ** (attempts - 1))
    raise BenchError(
        f"{file.url} cannot be fetched ({error or 'it breaks off'}); run the same command again to go on "
        f"after {out.tell()} bytes, or put the file at {path}."
    )


def _continue(url: str, out: IO[bytes], progress: Progress) -> bool:
    """Append what is missing; return whether the server says that this was all."""
    start = out.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is missing; the checksum tells whether it is right
            return True
        raise
    with answer:
        if start and answer.status != 206:  # a server that cannot go on
            out.truncate(0)
            progress.advance(-start)
            start = 0
        length = answer.headers.get("Content-Length")
        while block := answer.read(BLOCK):
            out.write(block)
            progress.advance(len(block))
        out.flush()
    return length is None or out.tell() == start + int(length)


def _unpack(path: Path, place: Path) -> None:
    """Unpack an archive to ``place``, whole or not at all; a single folder of that name in it is ``place``."""
    temporary = place.with_name(f".{place.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        if path.name.startswith("ILSVRC2012"):
            _unpack_imagenet(path, temporary)
            made = temporary
        else:
            for name, content in _members(path):
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as out:
                    shutil.copyfileobj(content, out, BLOCK)
            made = temporary / place.name if (temporary / place.name).exists() else temporary
        made.replace(place)
    except (*DAMAGED, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BenchError(f"{path} cannot be unpacked ({error}); fetch it again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of each file in a zip or tar; links and paths that lead out are refused."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            check_members(path, [info.filename for info in files])
            with Progress(len(files), f"unpacking {path.name}", "file") as progress:
                for info in files:
                    yield info.filename, archive.open(info)
                    progress.advance()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isdir():
                continue
            check_members(path, [member.name])
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise BenchError(f"{path}: {member.name!r} is no plain file; it is refused.")
            yield member.name, content


def _unpack_imagenet(path: Path, place: Path) -> None:
    """Unpack one of ImageNet's archives into folders of classes, as torchvision does it."""
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets import imagenet

    root = path.parent
    if "train" in path.name:
        imagenet.parse_train_archive(root, folder=place.name)
        return
    if not (root / imagenet.META_FILE).exists():
        imagenet.parse_devkit_archive(root)
    imagenet.parse_val_archive(root, folder=place.name)
