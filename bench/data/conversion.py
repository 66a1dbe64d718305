"""Real images to uint8 of one size: decoded, cropped, resized, and written into one array per source.

A killed conversion leaves its array and a journal, so that the next one resumes.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL
from PIL import Image

from bench.data.options import DatasetOptions
from bench.data.sources import Source
from bench.data.storage import ArrayWriter
from bench.support.console import Progress, say
from bench.support.errors import BenchError
from bench.support.files import digest, read_json, write_json
from bench.support.fingerprint import fingerprint

MAX_PIXELS = 64_000_000
BLOCK = 16  # images that one thread decodes at a time
NAMED = 100  # files that are named on the way; all are counted
EVERY = 5.0  # seconds between two notes of how far it came

Outcome: TypeAlias = np.ndarray | str  # an image, or why there is none


def decode(data: bytes | np.ndarray, options: DatasetOptions) -> np.ndarray:
    """Return one image as uint8 (resolution, resolution, channels): converted, cropped, resized.

    Palette, CMYK and grey images become RGB (or luma, ITU-R 601), alpha is left out, of an animation the
    first frame is taken, of 16 bits the upper 8 (``options.bits``: of the significant ones), EXIF orientation
    is not applied.  Four channels (latents) must be an array of that very shape, and stay as they are.  Raises
    BenchError for too many pixels, a format without a fixed range and a crop that does not fit; Pillow's
    errors otherwise.
    """
    side, shape = options.resolution, (options.resolution, options.resolution, options.channels)
    if isinstance(data, np.ndarray):
        if data.shape == shape and isinstance(options.crop, str):
            return data
        if 4 in (options.channels, *data.shape[2:]):
            raise BenchError(f"is {data.shape}, not {shape}; four channels (latents) are taken as they are")
        image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[2] == 1 else data)
    elif options.channels == 4:
        raise BenchError("is an image; four channels (latents) come from an array")
    else:
        image = _eight_bits(open_image(data), options.bits or 16)
    mode = "L" if options.channels == 1 else "RGB"
    image = _crop(image if image.mode == mode else image.convert(mode), options.crop)
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling[options.filter.upper()])
    return np.asarray(image).reshape(shape)


def open_image(data: bytes) -> Image.Image:
    """Return an image in its own mode, loaded; raises BenchError if it is empty or too large."""
    if not data:
        raise BenchError("is empty (0 bytes)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is refused below
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise BenchError(
                f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS}; it is refused"
            )
        image.load()
    return image


def check_depth(source: Source, options: DatasetOptions) -> None:
    """Raise BenchError if 16-bit files hold values of fewer bits: their upper 8 bits would be nearly black.

    Looked for in 64 images, evenly over the source; a row with ``bits`` says itself what its images hold.
    """
    order, bits = source.order(), 0
    for position in [] if options.bits else order[:: max(1, len(order) // 64)]:
        data = _attempt(source, source.keys[position], None)
        if not isinstance(data, bytes):
            return  # arrays have 8 bits; what cannot be read is named by the conversion
        try:
            with Image.open(io.BytesIO(data)) as image:
                grey, deep = (
                    image.mode.startswith("I"),
                    ";16" in str(image.tile),
                )  # Pillow cuts colours to 8 bits
                highest = int(np.asarray(image).max()) if grey or deep else 2**16
        except Exception:
            continue
        bits = max(bits, highest.bit_length() + (0 if grey else 8))
        if bits > 14:
            return
    if bits:
        advice = f"set bits: {max(bits, 8)}" if grey else "scale the values up to 65535"
        raise BenchError(
            f"{source.path} holds 16-bit images whose values use {bits} bits at most and would be nearly black; "
            f"{advice}, or set bits: 16 to take them as they are."
        )


def _eight_bits(image: Image.Image, bits: int) -> Image.Image:
    if image.mode == "F":
        raise BenchError(
            "holds floating-point grey levels, whose range is unknown; save it with 8 or 16 bits"
        )
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)  # Pillow's own conversion clips at 255
    if values.min() < 0 or values.max() >= 2**bits:
        raise BenchError(f"holds grey levels outside 0..{2**bits - 1}; save it with 8 or 16 bits")
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8))


def _crop(image: Image.Image, crop: str | list[int]) -> Image.Image:
    width, height = image.size
    if width == height and isinstance(crop, str):
        return image
    if crop == "none":
        raise BenchError(f"has {width}x{height} pixels, not square; set crop: center or a box")
    if crop == "center":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    if crop[2] > width or crop[3] > height:
        raise BenchError(f"has {width}x{height} pixels, less than the crop box {crop}")
    return image.crop(tuple(crop))


def _attempt(source: Source, key: Any, options: DatasetOptions | None, data: Any = None) -> Any:
    """Return the image under ``key`` (without options its bytes), or the reason why there is none.

    The name of the file goes in front of the reason.
    """
    if isinstance(data, str):
        return data
    try:
        data = source.read(key) if data is None else data
        return data if options is None else decode(data, options)
    except BenchError as error:
        return str(error)
    except Image.DecompressionBombError:
        return f"has more than {MAX_PIXELS} pixels; it is refused"
    except Image.UnidentifiedImageError:
        return "is not an image that Pillow knows"
    except MemoryError:
        return "does not fit into memory"
    except Exception as error:  # Pillow and the archive modules raise many kinds for broken files
        return f"does not decode ({' '.join(str(error).split()) or type(error).__name__})"


def stream(
    source: Source, options: DatasetOptions, workers: int = 1, start: int = 0
) -> Iterator[tuple[int, Outcome]]:
    """Yield (position, image or reason) for the images of a source, in the order of reading, from ``start``.

    Pillow decodes and resizes outside of Python's lock, so threads share the work.
    """

    def outcomes(positions: list[int], data: list) -> list[Outcome]:
        return [_attempt(source, source.keys[p], options, d) for p, d in zip(positions, data)]

    order = source.order()[start:]
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for begin in range(0, len(order), BLOCK):
                some = order[begin : begin + BLOCK]
                data = [None if source.threads else _attempt(source, source.keys[p], None) for p in some]
                waiting.append((some, pool.submit(outcomes, some, data)))
                if len(waiting) > 2 * workers:  # bounds memory
                    done, future = waiting.popleft()
                    yield from zip(done, future.result())
            for done, future in waiting:
                yield from zip(done, future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def convert(
    source: Source, options: DatasetOptions, out: Path, title: str, workers: int
) -> tuple[np.ndarray, list[str]]:
    """Convert all images of a source into ``out``, image i at row i; return the rows that hold one, and
    one sentence for each image that failed (``on_error: skip``; with ``fail`` the first raises BenchError).

    ``out`` and the journal beside it, left by a killed conversion of the same source, are continued.
    """
    file, key, count = out.with_suffix(".json"), _key(source, options), len(source.names)
    journal = read_json(file) if file.exists() else {}
    if journal.get("key") != key:  # another source, other options: from the start
        journal = {"key": key, "done": 0, "failed": {}}  # images in the order of reading; why, by position
    start, failed, noted = journal["done"], journal["failed"], time.monotonic()
    if start:
        say(f"{title}: resuming after {start} of {count} images")
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(out, count, shape, resume=start > 0) as writer,
        Progress(count, title, "image", start=start) as progress,
    ):
        for done, (position, outcome) in enumerate(stream(source, options, workers, start), start=start + 1):
            if isinstance(outcome, str):
                failed[str(position)] = refuse(f"{source.shown(position)} {outcome}", options, len(failed))
            else:
                writer.put(position, outcome)
            progress.advance()
            if done == count or time.monotonic() - noted >= EVERY:
                writer.sync()  # what the journal counts is on disk
                write_json(file, {"key": key, "done": done, "failed": failed})
                noted = time.monotonic()
    reasons = [failed[position] for position in sorted(failed, key=int)]
    if len(reasons) == count:
        raise BenchError(f"None of the {count} images of {source.path} could be used; {reasons[-1]}.")
    return np.delete(np.arange(count), [int(position) for position in failed]), reasons


def refuse(message: str, options: DatasetOptions, before: int) -> str:
    """Raise BenchError, or with ``on_error: skip`` say what is skipped, the first hundred times."""
    if options.on_error == "fail":
        raise BenchError(f"{message}; repair it or take it out of the source, or set on_error: skip.")
    if before < NAMED:
        say(f"skipped: {message}")
    return message


def _key(source: Source, options: DatasetOptions) -> str:
    """Return what makes a half-written array one of this conversion: source, options, code, decoders."""
    hasher = hashlib.sha256()
    for name in source.names:
        hasher.update(name.encode("utf-8", "surrogateescape") + b"\n")
    for file in _files(source):
        stat = os.stat(file)  # noqa: PTH116 - there may be millions
        hasher.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    made = (
        options.resolution,
        options.channels,
        options.crop,
        options.filter,
        options.bits,
        options.on_error,
    )
    return digest([hasher.hexdigest(), made, fingerprint("bench.data.conversion"), PIL.__version__])


def _files(source: Source) -> Iterable[Path | str]:
    if not source.path.is_dir():
        return [source.path]
    if source.threads:  # a folder of images
        return (os.path.join(source.path, key) for key in source.keys)  # noqa: PTH118
    return sorted(source.path.rglob("*"))
