"""The one exception that bad input raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Bad input. The message is one sentence that names the file, key or value and the way to fix it.

    The command line prints it as ``bench: error: ...`` and exits with status 1, without a traceback.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name; an empty string if there is none or ``name`` is known."""
    known = list(known)
    if name in known:  # a check's message is built before the check fails, if it does
        return ""
    match = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""
