"""Getting the files of a row: download what has a public address, check everything, unpack archives.

Only ``bench data fetch`` uses this module; nothing else downloads anything.
"""

from __future__ import annotations

import shutil
import tarfile
import time
import zipfile
from pathlib import Path

from bench.data import missing
from bench.data.options import DatasetOptions, SourceFile
from bench.data.sources import DAMAGED
from bench.data.storage import exclusive
from bench.support.console import say
from bench.support.errors import BenchError

ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds before the second of them, then twice as long each time
TIMEOUT = 60.0  # seconds without a byte


def fetch(name: str, options: DatasetOptions, sources: Path) -> None:
    """Bring all files of a row into ``sources``; what is there is checked and left as it is.

    An interrupted download resumes where it stopped.  Raises BenchError for a file that must be
    downloaded manually (which, where to, size, checksum), one that differs from its row, and a lost connection.
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
    if place is not None and "devkit" not in path.name:  # ImageNet's is read with the validation images
        _unpack(path, place)
    say(f"{place or path} is there")


def download(file: SourceFile, path: Path) -> None:
    """Download a file to ``path`` through ``path.part``, which the next call resumes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("ab") as out:
        if not exclusive(out.fileno()):
            raise BenchError(f"Another process is downloading {path}; wait until it has ended.")
        lacking, free = (file.bytes or 1) - out.tell(), shutil.disk_usage(path.parent).free
        if free < lacking:
            raise BenchError(
                f"{path} needs {missing.size_of(lacking)}, {missing.size_of(free)} are free; "
                "free space or set BENCH_DATA."
            )
        if lacking > 0:
            _receive(file, out, path)
    try:
        missing.check(part, file)
    except BenchError as error:
        part.unlink()
        raise BenchError(f"{file.url} did not return the expected file: {error}") from None
    part.replace(path)


def _receive(file: SourceFile, out, path: Path) -> None:
    """Append to the open file ``out`` until it is whole, taking up the connection where it broke off."""
    import pooch
    import requests

    attempts = 0
    while True:
        start = out.tell()
        more = {"headers": {"Range": f"bytes={start}-"}} if start else {}
        try:
            pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT, **more)(str(file.url), out, None)
            return
        except requests.RequestException as error:
            attempts = 1 if out.tell() > start else attempts + 1
            refused = error.response is not None and error.response.status_code < 500
            if refused or attempts == ATTEMPTS:
                raise BenchError(
                    f"{file.url} cannot be fetched ({error}); run the same command again to resume after "
                    f"{out.tell()} bytes, or put the file at {path}."
                ) from error
        time.sleep(PAUSE * 2 ** (attempts - 1))


def _unpack(path: Path, place: Path) -> None:
    """Unpack an archive to ``place``, whole or not at all; a single folder of that name in it is ``place``."""
    temporary = place.with_name(f".{place.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    say(f"{path}: unpacking")
    try:
        if path.name.startswith("ILSVRC2012"):
            _unpack_imagenet(path, temporary)
        else:
            _extract(path, temporary)
        made = temporary / place.name
        (made if made.exists() else temporary).replace(place)
    except (*DAMAGED, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BenchError(f"{path} cannot be unpacked ({error}); fetch it again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(path: Path, folder: Path) -> None:
    """Unpack a zip or tar; what would lie outside of the folder is refused or put inside."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            _untar(archive, folder)


def _untar(archive: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    for member in archive:  # Python before 3.11.4, as in Debian 12, has no filters
        inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
        if not (inside and (member.isfile() or member.isdir())):
            raise tarfile.TarError(f"{member.name!r} is a link, or would lie outside of the folder")
    archive.extractall(folder)


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
