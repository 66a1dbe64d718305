"""Files that are either whole or absent, and their hashes."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.support.errors import BenchError


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; move it there only if the block succeeds.

    Raises BenchError if the folder cannot be written or the disk is full; the temporary file is
    then removed and an older ``path`` is left as it was.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; results are shared like any other new file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise BenchError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose a writable folder."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON object; raises BenchError that names the file if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not valid JSON ({error}); delete it and make it again.") from error


def refuse_future(*inputs: Path) -> None:
    """Raise BenchError if a file was changed in the future: Snakemake would discard what is made of it.

    Clocks of two machines may differ by a minute.
    """
    for path in inputs:
        if path.exists() and path.stat().st_mtime > time.time() + 60:
            when = datetime.datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "seconds")
            raise BenchError(
                f"{path} was last changed in the future ({when}), so Snakemake would discard what is made of it; "
                f"set its time with `touch {shlex.quote(str(path))}`."
            )


def sha256(path: str | Path) -> str:
    """Return the hex sha256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return 16 hex digits of the hash of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
