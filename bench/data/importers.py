"""Real images to uint8 of one size: decode, crop, resize; in one process or several, in bounded memory."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from PIL import Image

from bench.data.options import DatasetOptions
from bench.data.sources import Reader, Source
from bench.support.errors import BenchError

MAX_PIXELS = 64_000_000
BLOCK = 64  # images that travel to a worker process together

Outcome = np.ndarray | str  # an image, or why there is none


def decode(data: bytes | np.ndarray, options: DatasetOptions) -> np.ndarray:
    """Return one image as uint8 (resolution, resolution, channels): converted, cropped, resized.

    Palette, CMYK and grey images become RGB (or luma, ITU-R 601), alpha is left out, of an animation the
    first frame is taken, 16 bits become the upper 8, EXIF orientation is not applied.  Four channels (latents)
    must be an array of that very shape, and stay as they are.  Raises BenchError for
    too many pixels, a format without a fixed range and a crop that does not fit; Pillow's errors otherwise.
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
        image = _open(data)
    mode = "L" if options.channels == 1 else "RGB"
    image = _crop(image if image.mode == mode else image.convert(mode), options.crop)
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling[options.filter.upper()])
    return np.asarray(image).reshape(shape)


def _open(data: bytes) -> Image.Image:
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
    if image.mode == "F":
        raise BenchError(
            "holds floating-point grey levels, whose range is unknown; save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # Pillow's own conversion clips at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise BenchError("holds grey levels outside 0..65535; save it with 8 or 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return image


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


def _outcome(
    reader: Reader, key: Any, options: DatasetOptions, data: bytes | np.ndarray | None = None
) -> Outcome:
    """Return the image under ``key``, or the reason why there is none (the name goes in front of it)."""
    try:
        return decode(reader.read(key) if data is None else data, options)
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
    """Yield (position, image or reason) for the images of a source, in the order of reading, from ``start``."""
    order = source.order()[start:]
    if workers <= 1 or len(order) <= BLOCK or source.reader.decoded:
        for position in order:
            yield position, _outcome(source.reader, source.keys[position], options)
        return
    try:
        yield from _in_processes(source, options, order, workers)
    except BrokenProcessPool as error:
        raise BenchError(
            f"A process that read {source.path} died; give fewer --workers if memory is short."
        ) from error


def _in_processes(
    source: Source, options: DatasetOptions, order: Any, workers: int
) -> Iterator[tuple[int, Outcome]]:
    context = multiprocessing.get_context("spawn")
    waiting: deque = deque()
    with ProcessPoolExecutor(workers, context, _begin, (source.reader, options)) as pool:
        try:
            for start in range(0, len(order), BLOCK):
                positions = order[start : start + BLOCK]
                keys = [source.keys[position] for position in positions]
                data = [_read(source.reader, key) for key in keys] if source.reader.sequential else None
                waiting.append((positions, pool.submit(_work, keys, data)))
                if len(waiting) > 2 * workers:  # bounds memory
                    done, future = waiting.popleft()
                    yield from zip(done, future.result())
            for done, future in waiting:
                yield from zip(done, future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(reader: Reader, key: Any) -> bytes | np.ndarray | str:
    try:
        return reader.read(key)
    except Exception as error:
        return f"does not decode ({error})"


_worker: tuple[Reader, DatasetOptions]


def _begin(reader: Reader, options: DatasetOptions) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = (reader, options)


def _end_with_parent() -> None:
    """End this process when its parent is killed: nobody would tell it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(keys: list[Any], data: list | None) -> list[Outcome]:
    reader, options = _worker
    if data is None:
        return [_outcome(reader, key, options) for key in keys]
    return [d if isinstance(d, str) else _outcome(reader, k, options, d) for k, d in zip(keys, data)]
