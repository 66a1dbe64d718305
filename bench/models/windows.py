"""Attention windows of a network's layers, written as a list or in a short form. Torch-free.

Lists of An et al. 2024: Local is ``3,5,7,9,11,13@head``, Local* is ``3*3,5*3,7*3@head``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

PLACEMENTS = ("head", "mix", "tail")
Windows = list[int | None]


def parse_windows(text: str | Sequence[int | None] | None, depth: int, side: int | None = None) -> Windows:
    """Return one window per layer: an odd number of tokens, or ``None`` for global attention.

    ``text`` is ``None`` or ``"global"`` (all layers global), a list with one entry per layer, or a short
    form: windows separated by commas, ``3*2`` for two layers of 3, then optionally ``@head`` (the first
    layers, the default), ``@tail`` (the last layers, same order) or ``@mix`` (every second layer, the first
    one local; more than half of the layers are spread evenly, so 9 of 12 are three local, one global, and
    so on). Layers that are not named are global. A window of at least ``2 * side - 1`` tokens is global.
    Raises ValueError for anything else.
    """
    if text is None or text == "global":
        return [None] * depth
    if isinstance(text, str):
        windows = _short_form(text, depth)
    else:
        windows = list(text)
        if len(windows) != depth:
            raise ValueError(f"windows has {len(windows)} entries for {depth} layers; give one per layer.")
    for window in windows:
        _check(window)
    return [None if w is not None and side is not None and w >= 2 * side - 1 else w for w in windows]


def windows_of(family: str, options: dict[str, Any], image_size: int | None = None) -> Windows:
    """Return the windows of a preset, one per layer in the order in which the layers act.

    With the side of the image, windows that see all tokens are ``None``. Raises ValueError as `parse_windows` does.
    """
    given = options.get("windows")
    depth = options.get("depth", 0) + options.get("encoder", 0) + options.get("decoder", 0)
    depth += family in ("u-vit", "iu-vit") or options.get("middle", False)  # a block between the halves
    side = None if image_size is None else image_size // options.get("patch", 1)
    return parse_windows(given, len(given) if isinstance(given, list) else depth, side)


def describe(family: str, options: dict[str, Any]) -> str:
    """Return a preset's windows in words, "windows 3,3,5 in layers 1-3 of 6"; empty if all layers are global."""
    windows = windows_of(family, options)
    local = [layer for layer, window in enumerate(windows, start=1) if window is not None]
    if not local:
        return ""
    runs = local[-1] - local[0] + 1 == len(local) > 1
    layers = f"{local[0]}-{local[-1]}" if runs else ", ".join(map(str, local))
    listed = ",".join(str(windows[layer - 1]) for layer in local)
    return f"windows {listed} in layer{'s' if len(local) > 1 else ''} {layers} of {len(windows)}"


def _short_form(text: str, depth: int) -> Windows:
    listed, _, placement = text.partition("@")
    placement = placement.strip() or "head"
    if placement not in PLACEMENTS or ("@" in text and text.endswith("@")):
        raise ValueError(f"windows {text!r} must end in @head, @mix or @tail, or in no @ at all.")
    windows = [window for item in listed.split(",") for window in _repeated(item, text)]
    if len(windows) > depth:
        raise ValueError(f"windows {text!r} names {len(windows)} layers; the network has {depth}.")
    placed: Windows = [None] * depth
    for layer, window in zip(_layers(placement, len(windows), depth), windows, strict=True):
        placed[layer] = window
    return placed


def _layers(placement: str, count: int, depth: int) -> list[int]:
    """Return which layers are local, counted from 0."""
    if placement == "head":
        return list(range(count))
    if placement == "tail":
        return list(range(depth - count, depth))
    if 2 * count <= depth + 1:
        return list(range(0, 2 * count, 2))
    return [i * depth // count for i in range(count)]


def _repeated(item: str, text: str) -> list[int]:
    match = re.fullmatch(r"\s*(\d+)\s*(?:\*\s*(\d+)\s*)?", item)
    if match is None or match[2] == "0":
        raise ValueError(
            f"windows {text!r}: {item.strip()!r} is neither a window like 5 nor a repetition like 5*3."
        )
    return [int(match[1])] * int(match[2] or 1)


def _check(window: object) -> None:
    if window is None:
        return
    if isinstance(window, bool) or not isinstance(window, int):
        raise ValueError(f"a window is an odd number of tokens or null, not {window!r}.")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"a window is an odd number of tokens (1, 3, 5, ...), not {window}.")
