"""Protocols (``key=value;...`` of a row), shuffles and missing runs in words, for captions."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

_WEIGHTS = {"ema": "the averaged weights", "raw": "the last weights"}


def protocol_in_words(protocol: str) -> str:
    """Return a protocol in words; unknown parts are left as they are."""
    left = dict(part.partition("=")[::2] for part in protocol.split(";") if part)
    words = []
    if {"samples", "weights", "sampler", "steps"} <= left.keys():
        count, weights, sampler, steps = (left.pop(key) for key in ("samples", "weights", "sampler", "steps"))
        words.append(
            f"{count} samples of {_WEIGHTS.get(weights, weights)} ({sampler.upper()}, {steps} steps)"
        )
    for key, text in _TEXTS.items():
        if key in left:
            words.append(text(left.pop(key)))
    words += [f"{key} {value}".strip() for key, value in left.items()]
    return ", ".join(word for word in words if word)


def _reference(value: str) -> str:
    pool, _, count = value.partition(":")
    return f"against {count or 'all'} images of the {pool} pool"


_TEXTS = {
    "reference": _reference,
    "features": lambda value: f"features of {value}",
    "space": lambda value: f"in {value}" if value == "pixels" else f"in the features of {value}",
    "kept": lambda value: f"{value} reference images kept",
    "subsets": lambda value: "{} random subsets of {}".format(*value.split("x")),
    "images": lambda value: "as many test images beside them",
    "ratio": lambda value: f"a copy's nearest is closer than {value} of the distance to the second nearest",
    "mirrored": lambda value: "mirrored train images count as the same" if value == "true" else "",
}


def distance_in_words(rows: pd.DataFrame) -> str:
    """Return what a table of distances holds: its name, and how the samples of the first row were drawn."""
    name = "FID" if rows["metric"].iloc[0] == "fid" else "Fréchet distance, not a FID"
    return f"{name} ({protocol_in_words(rows['protocol'].iloc[0])})"


def absent_in_words(sizes: dict[str, set[int]], more: int) -> str:
    """Return which networks lack which N, the first four; ``more`` runs are of cells that are shown all the same."""
    parts = [f"{label} at N = {', '.join(f'{n:,}' for n in sorted(own))}" for label, own in sizes.items()]
    parts = [*parts[:4], f"{len(parts) - 4} more"] if len(parts) > 4 else parts
    return "; ".join(
        [*parts, *([f"{more} of cells that are shown, in other shuffles or recipes"] if more else [])]
    )


def shuffles_in_words(counts: Iterable[int]) -> str:
    """Return "3 shuffles" or "1 to 3 shuffles"."""
    low, high = min(counts := [int(count) for count in counts]), max(counts)
    return f"{low if low == high else f'{low} to {high}'} shuffle{'s' if high > 1 else ''}"


def signs_in_words(signs: dict[int, str]) -> str:
    """Return the signs of cells by N, a line for each sign, "\\n↘ N = 10\\n✗ N = 100, 1,000"; empty without."""
    sizes: dict[str, list[str]] = {}
    for n, sign in signs.items():
        sizes.setdefault(sign, []).append(f"{n:,}")
    everywhere = len(sizes) == 1 < len(signs)
    words = {
        sign: "every N" if everywhere else f"N = {', '.join(own)}" for sign, own in sizes.items() if sign
    }
    return "".join(f"\n{sign} {where}" for sign, where in words.items())
