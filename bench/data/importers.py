"""Real images from a folder, a zip or tar archive, or an array, as a stream of uint8 images of one size.

Archives are read member by member and never unpacked, so a path in them cannot leave a folder.  Memory
does not grow with the number of images.
"""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.options import DatasetOptions
from bench.errors import BenchError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
# Labels and notes that real datasets carry beside their images; everything else unknown is refused.
BESIDE = {".md", ".csv", ".json", ".xml", ".mat"}
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Source:
    """The images of one source: their names in order, and how to open one (bytes or uint8 array)."""

    path: Path
    names: list[str]
    read: Callable[[int], bytes | np.ndarray]


def open_source(path: Path, home: str = "") -> Source:
    """List the images of a folder (recursively), zip, tar, ``.npy`` or ``.npz``, sorted by name.

    Raises BenchError where the source is missing, holds no images or files that are no images, or an
    archive is truncated.
    """
    if not path.exists():
        raise BenchError(f"{path} does not exist; put the images there{f' (from {home})' if home else ''}.")
    if path.is_dir():
        return _folder(path)
    if path.suffix in (".npy", ".npz"):
        return _array(path)
    try:
        if zipfile.is_zipfile(path):
            return _zip(path)
        if tarfile.is_tarfile(path):
            return _tar(path)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise BenchError(f"{path} is damaged or truncated ({error}); fetch it again.") from error
    raise BenchError(f"{path} is neither a folder nor a whole zip, tar, .npy or .npz file; give one of these.")


def _select(path: Path, names: list[str]) -> list[str]:
    """Keep the names of images, sorted; refuse what is neither an image nor a usual companion."""
    kept = []
    for name in sorted(names):
        suffix = Path(name).suffix.lower()
        if Path(name).name.startswith(".") or "__MACOSX" in name or suffix in BESIDE:
            continue
        if suffix not in IMAGE_SUFFIXES:
            raise BenchError(f"{path}: {name!r} is not an image; take it out of the source.")
        kept.append(name)
    if not kept:
        raise BenchError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return kept


def _folder(path: Path) -> Source:
    root = path.resolve()
    names = []
    for file in path.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise BenchError(f"{file} is a link that leaves the folder; copy the file instead.")
        if file.is_file():
            names.append(file.relative_to(path).as_posix())
    names = _select(path, names)
    return Source(path, names, lambda i: (path / names[i]).read_bytes())


def _safe(path: Path, names: list[str]) -> None:
    for name in names:
        if name.startswith(("/", "\\")) or ".." in Path(name.replace("\\", "/")).parts:
            raise BenchError(f"{path}: the member {name!r} points out of the archive; it is refused.")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise BenchError(f"{path}: two members are named {twice!r}; rename one.")


def _zip(path: Path) -> Source:
    archive = zipfile.ZipFile(path)
    files = [info.filename for info in archive.infolist() if not info.is_dir()]
    _safe(path, files)
    names = _select(path, files)
    return Source(path, names, lambda i: archive.read(names[i]))


def _tar(path: Path) -> Source:
    archive = tarfile.open(path)  # noqa: SIM115 - stays open while the images stream
    members = {m.name: m for m in archive.getmembers() if m.isfile()}
    _safe(path, [m.name for m in archive.getmembers()])
    names = _select(path, list(members))
    # a tar that was cut between two members still lists; only the block of zeros at its end is missing
    archive.fileobj.seek(max(m.offset_data + -(-m.size // 512) * 512 for m in archive.getmembers()))
    if archive.fileobj.read(512) != bytes(512):
        raise tarfile.ReadError("its end is missing")
    return Source(path, names, lambda i: archive.extractfile(members[names[i]]).read())


def _array(path: Path) -> Source:
    try:
        images = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(f"{path} is not a whole NumPy file ({error}); write it again.") from error
    if not isinstance(images, np.ndarray):
        arrays = [key for key in images.files if images[key].ndim >= 3]
        if len(arrays) != 1:
            raise BenchError(f"{path} must hold one array of images, not {len(arrays)} ({', '.join(images.files)}).")
        images = images[arrays[0]]
    if images.dtype != np.uint8:
        raise BenchError(f"{path} has the dtype {images.dtype}; images must be uint8 in 0..255.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise BenchError(f"{path} has the shape {images.shape}; images must be (n, height, width, 1 or 3).")
    return Source(path, [f"{path.name}[{i}]" for i in range(len(images))], lambda i: images[i])


def decode(source: Source, index: int, options: DatasetOptions) -> np.ndarray:
    """Return one image as uint8 (resolution, resolution, channels): converted, cropped, resized antialiased.

    Palette, CMYK, transparent (on black) and animated (first frame) images become grey or RGB; 16-bit ones
    are scaled.  Raises BenchError that names the file where it does not decode or is too large.
    """
    name = f"{source.path}/{source.names[index]}" if source.path.is_dir() else f"{source.path}: {source.names[index]}"
    try:
        data = source.read(index)
        image = _picture(data, "L" if options.channels == 1 else "RGB")
    except BenchError:
        raise
    except Image.DecompressionBombError as error:
        raise BenchError(f"{name} is larger than {MAX_PIXELS} pixels; it is refused.") from error
    except Exception as error:  # Pillow raises many kinds for broken files
        raise BenchError(f"{name} does not decode ({error}); mend or remove it, or set on_error: skip.") from error
    image = _crop(image, options.crop, name)
    if image.size != (options.resolution, options.resolution):
        image = image.resize((options.resolution,) * 2, getattr(Image.Resampling, options.filter.upper()))
    return np.asarray(image).reshape(options.resolution, options.resolution, options.channels)


def _picture(data: bytes | np.ndarray, mode: str) -> Image.Image:
    if isinstance(data, np.ndarray):
        return Image.fromarray(data[..., 0] if data.shape[2] == 1 else data).convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS
        try:
            image = Image.open(io.BytesIO(data))
            image.load()
        except Image.DecompressionBombWarning as error:
            raise Image.DecompressionBombError(str(error)) from error
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert(mode)


def _crop(image: Image.Image, crop: str | list[int], name: str) -> Image.Image:
    width, height = image.size
    if crop == "none":
        if width != height:
            raise BenchError(f"{name} is {width}x{height} pixels, not square; set crop: center or a box.")
        return image
    if crop == "center":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    if crop[2] > width or crop[3] > height:
        raise BenchError(f"{name} is {width}x{height} pixels, smaller than the crop box {crop}.")
    return image.crop(tuple(crop))


def stream(source: Source, options: DatasetOptions, skipped: list[str]) -> Iterator[np.ndarray]:
    """Yield the images in order; with ``on_error: skip`` a broken one is appended to ``skipped`` instead."""
    for index in range(len(source.names)):
        try:
            yield decode(source, index, options)
        except BenchError as error:
            if options.on_error == "fail":
                raise
            skipped.append(str(error))
