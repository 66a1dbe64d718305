"""What long work says: a progress bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType


def say(text: str) -> None:
    """Print one line to standard error at once."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Progress with rate and time left; ``with Progress(total, "train", "step") as p: p.advance()``.

    On a terminal a tqdm bar; elsewhere one line every ``every`` seconds, so that logs stay short.
    """

    def __init__(self, total: int, name: str, unit: str = "it", start: int = 0, every: float = 10.0) -> None:
        self.total, self.name, self.unit, self.every = total, name, unit, every
        self.count = self.first = start
        self.began = self.said = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=start, desc=name, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count ``amount`` more units; ``note`` (for instance the loss) is appended to the line."""
        self.count += amount
        if self.bar is not None:
            self.bar.update(amount)
            if note:
                self.bar.set_postfix_str(note, refresh=False)
        elif time.monotonic() - self.said >= self.every:
            self._line(note)

    def _line(self, note: str) -> None:
        self.said = time.monotonic()
        rate = (self.count - self.first) / max(self.said - self.began, 1e-9)
        left = (self.total - self.count) / rate if rate > 0 else float("inf")
        percent = 100 * self.count / max(self.total, 1)
        say(
            f"{self.name}: {self.count}/{self.total} {self.unit} ({percent:.0f} %), "
            f"{rate:.3g} {self.unit}/s, {left:.0f} s left{'; ' + note if note else ''}"
        )

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None:
            self._line("")
