"""What one image file becomes: formats, depths, colours, crops."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from pictures import chunk, images, options, packed, png
from PIL import Image

from bench.data.build import build_dataset
from bench.data.conversion import decode, stream
from bench.data.dataset import open_dataset
from bench.data.sources import open_source
from bench.support.errors import BenchError


def saved(image, **more):
    buffer = io.BytesIO()
    image.save(buffer, **more)
    return buffer.getvalue()


def test_animation_gives_its_first_frame():
    first, second = (Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (10, 200))
    data = saved(first, format="GIF", save_all=True, append_images=[second])
    assert decode(data, options()).max() == 10


def test_sixteen_bits_keep_the_upper_eight():
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    data = saved(Image.fromarray(values), format="PNG")
    np.testing.assert_array_equal(decode(data, options(channels=1))[..., 0], values >> 8)


def test_float_grey_levels_are_refused():
    data = saved(Image.fromarray(np.zeros((8, 8), np.float32)), format="TIFF")
    with pytest.raises(BenchError, match="floating-point"):
        decode(data, options())


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_colour_modes_are_converted(mode):
    image = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8))
    data = saved(image.convert(mode), format="JPEG", quality=100, subsampling=0)
    assert np.abs(decode(data, options()).astype(int) - [200, 100, 50]).max() <= 3


def test_crops():
    image = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20)
    data = saved(Image.fromarray(image), format="PNG")
    grey = {"channels": 1, "resolution": 12}
    np.testing.assert_array_equal(decode(data, options(**grey))[..., 0], image[:, 4:16])
    np.testing.assert_array_equal(decode(data, options(**grey, crop=[8, 0, 20, 12]))[..., 0], image[:, 8:])
    with pytest.raises(BenchError, match="20x12 pixels, not square"):
        decode(data, options(**grey, crop="none"))
    with pytest.raises(BenchError, match="less than the crop box"):
        decode(data, options(**grey, crop=[9, 0, 21, 12]))


FORMATS = {
    "jfif": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "tga": "TGA", "pnm": "PPM", "": "PNG", "bin": "JPEG",
    "qoi": "QOI", "dds": "DDS", "pcx": "PCX", "ico": "ICO", "JPE": "JPEG",
}  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_every_format_that_pillow_reads(tmp_path, form):
    Image.init()
    members = {}
    for i, (suffix, kind) in enumerate(FORMATS.items()):
        if kind in Image.SAVE and kind in Image.OPEN:
            name = f"{i:02d}.{suffix}" if suffix else f"{i:02d}"
            members[name] = saved(Image.fromarray(images(1, 16, seed=i)[0]), format=kind)
    assert len(members) >= 8
    source = open_source(packed(tmp_path, form, members | {"notes": b"hello", "model.pt": b"PK\3\4"}))
    assert source.names == sorted(members)
    assert [reason.split(": ")[1] for reason in source.refused] == [
        "'model.pt' is not an image",
        "'notes' is not an image",
    ]
    assert not [reason for _, reason in stream(source, options()) if isinstance(reason, str)]


def deep(values, colour=False):
    """Return a 16-bit PNG, grey or colour (which Pillow does not write)."""
    if not colour:
        return saved(Image.fromarray(values.astype(np.uint16)), format="PNG")
    side = len(values)
    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "colour"), [(12, False), (10, False), (14, False), (12, True)])
def test_sixteen_bit_files_with_fewer_bits(tmp_path, bits, colour):
    """Their upper eight bits are nearly black: every image would be a copy of every other."""
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 8, 8))
    path = packed(tmp_path, "folder", {f"{i}.png": deep(v, colour) for i, v in enumerate(values)})
    row = {"source": str(path), "channels": 3 if colour else 1}
    words = "scale the values up to 65535" if colour else f"set bits: {bits}"
    with pytest.raises(BenchError, match=f"values use {bits} bits at most .*{words}, or set bits: 16"):
        build_dataset("x", options(**row), tmp_path / "x")
    assert not (tmp_path / "x").exists()
    if not colour:
        build_dataset("x", options(**row, bits=bits), tmp_path / "x")
        pools = open_dataset(tmp_path / "x")
        made = {image.tobytes() for image in (*pools.train, *pools.test)}
        assert made == {(v >> (bits - 8)).astype(np.uint8).tobytes() for v in values}
        with pytest.raises(BenchError, match="grey levels outside 0..255"):
            decode(deep(values[0]), options(**row, bits=8))


def test_dark_images_of_eight_bits_and_bright_ones_of_sixteen_are_taken(tmp_path):
    dark = packed(tmp_path, "folder", {f"{i}.png": png(image // 32) for i, image in enumerate(images(9))})
    build_dataset("x", options(source=str(dark), near_duplicates="keep"), tmp_path / "x")
    values = np.random.default_rng(0).integers(0, 2**16, (9, 8, 8))
    values[1:] //= 64  # most are dark
    (tmp_path / "deep").mkdir()
    path = packed(tmp_path / "deep", "folder", {f"{i}.png": deep(v) for i, v in enumerate(values)})
    row = options(source=str(path), channels=1, near_duplicates="keep")
    assert build_dataset("y", row, tmp_path / "y")["train"] == 6


@pytest.mark.parametrize(("saved_as", "named"), [("npy", "npz"), ("npz", "npy")])
def test_an_array_under_the_other_ending(tmp_path, saved_as, named):
    (np.save if saved_as == "npy" else np.savez)(tmp_path / f"a.{saved_as}", images(5))
    (tmp_path / f"a.{saved_as}").rename(tmp_path / f"b.{named}")
    assert len(open_source(tmp_path / f"b.{named}").names) == 5
