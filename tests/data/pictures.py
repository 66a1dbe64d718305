"""Pictures for the tests of sources."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib

import lmdb
import numpy as np
from PIL import Image

from bench.data.options import DatasetOptions


def options(**more):
    return DatasetOptions(**{"title": "x", "resolution": 8, "test": 3, "source": "x"} | more)


def images(count=150, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(path, form, members):
    """Write members (name -> bytes) as a folder, zip, tar.gz or LMDB."""
    if form == "folder":
        for name, data in members.items():
            (path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (path / "folder" / name).write_bytes(data)
    elif form == "zip":
        with zipfile.ZipFile(path / form, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    elif form == "lmdb":
        with lmdb.open(str(path / form), map_size=2**24) as place, place.begin(write=True) as transaction:
            for name, data in members.items():
                transaction.put(name.encode(), data)
    else:
        with tarfile.open(path / form, "w:gz") as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path / form
