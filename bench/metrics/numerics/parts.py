"""Work on many images in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.support.console import say
from bench.support.errors import BenchError


def in_parts(count: int, size: int, work: Callable[[int, int], None], unit: int = 1) -> None:
    """Call ``work(first, number)`` for parts of 0..count of at most ``size``; halve it where a GPU's memory is short.

    ``unit`` is the smallest part.  Raises BenchError if even that does not fit.
    """
    first = 0
    while first < count:
        number = min(size, count - first)
        try:
            work(first, number)
        except torch.OutOfMemoryError as error:
            if number <= unit:
                raise BenchError(
                    f"The GPU's memory is too small for {number} image(s) at a time; choose a larger GPU, or --device cpu."
                ) from error
            size = max(unit, number // 2 // unit * unit)
        else:
            first += number
            continue
        torch.cuda.empty_cache()  # outside of the handler, which keeps the tensors of the failed part alive
        say(f"out of GPU memory with {number} images at a time; continuing with {size}")
