"""LMDB databases of encoded images, as LSUN is distributed: the key is the name, the value is the file."""

from __future__ import annotations

from pathlib import Path

from bench.data.sources import Reader, Source
from bench.support.errors import BenchError


class LmdbReader(Reader):
    """Values of an LMDB database; a key is the name as text. Nothing is written, not even a lock file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes:
        """Return the value's bytes."""
        if "handle" not in vars(self):
            self.handle = _environment(self.path).begin()
        data = self.handle.get(key.encode("utf-8", "surrogateescape"))
        if data is None:
            raise OSError("its key is gone")
        return data


def _environment(path: Path):
    import lmdb

    try:
        environment = lmdb.open(
            str(path), readonly=True, lock=False, readahead=False, create=False, max_spare_txns=1
        )
    except lmdb.Error as error:
        raise OSError(str(error)) from error
    # pages beyond the end of a truncated file would kill the process (SIGBUS) when they are read
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    found = (path / "data.mdb").stat().st_size
    if found < needed:
        environment.close()
        raise OSError(f"data.mdb has {found} of {needed} bytes")
    return environment


def lmdb_source(path: Path) -> Source:
    """List the keys of the database in the folder ``path`` (which holds ``data.mdb``), in their order.

    Raises OSError where it is damaged or truncated, BenchError where it is empty.
    """
    environment = _environment(path)
    try:
        with environment.begin() as transaction, transaction.cursor() as cursor:
            names = [key.decode("utf-8", "surrogateescape") for key in cursor.iternext(values=False)]
    finally:
        environment.close()
    if not names:
        raise BenchError(f"{path} holds no images: the database is empty.")
    return Source(path, names, names, LmdbReader(path))
