"""Sources: what is read from where, in which order, and what is refused."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib

import lmdb
import numpy as np
import pytest
from PIL import Image

from bench.data import sources
from bench.data.build import build_dataset
from bench.data.conversion import decode, stream
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.data.sources import open_source
from bench.support.errors import BenchError


def options(**more):
    return DatasetOptions(**{"title": "x", "resolution": 8, "test": 3, "source": "x"} | more)


def images(count=150, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def every_form(tmp_path_factory):
    """The same 150 images as a folder, zip, tar, tar.gz, tar.xz (each out of order), npy and npz."""
    path, pictures = tmp_path_factory.mktemp("forms"), images()
    names = [f"{i % 3}/{i:03d}.png" for i in range(len(pictures))]
    order = np.random.default_rng(1).permutation(len(pictures))
    for i, name in enumerate(names):
        (path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "folder" / name).write_bytes(png(pictures[i]))
    (path / "folder" / "README.md").write_text("a companion")
    (path / "folder" / ".DS_Store").write_text("hidden")
    with zipfile.ZipFile(path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in order:
            archive.write(path / "folder" / names[i], names[i])
    for suffix in ("tar", "tar.gz", "tar.xz"):
        with tarfile.open(path / f"a.{suffix}", f"w:{suffix[4:]}") as archive:
            for i in order:
                archive.add(path / "folder" / names[i], names[i])
    ranked = pictures[np.argsort(names)]
    np.save(path / "a.npy", ranked)
    np.savez_compressed(path / "a.npz", images=ranked, labels=np.arange(150))
    return path, ranked


@pytest.mark.parametrize("form", ["folder", "a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.npy", "a.npz"])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_form_gives_the_same_images(every_form, form, workers):
    path, expected = every_form
    source = open_source(path / form)
    assert len(source.names) == 150
    outcomes = dict(stream(source, options(), workers))
    assert sorted(outcomes) == list(range(150))
    for position, image in outcomes.items():
        np.testing.assert_array_equal(image, expected[position])


def test_an_error_in_a_worker_process_names_the_file(tmp_path, every_form):
    path, _ = every_form
    for file in (path / "folder").rglob("*.png"):
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[:80] if file.name == "077.png" else data)
    with pytest.raises(BenchError, match=r"077\.png does not decode .*on_error: skip"):
        build_dataset("x", options(source=str(tmp_path)), tmp_path / "out" / "x", workers=2)
    assert not list((tmp_path / "out").iterdir())


def bad_zip(path, name="a.png", data=b"x", **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
def test_paths_that_lead_out_of_an_archive(tmp_path, name):
    bad_zip(tmp_path / "a.zip", name)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    for form in ("a.zip", "a.tar"):
        with pytest.raises(BenchError, match="points out of the archive"):
            open_source(tmp_path / form)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar(tmp_path, kind):
    member = tarfile.TarInfo("a.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member)
    with pytest.raises(BenchError, match="is a link or sparse"):
        open_source(tmp_path / "a.tar")


def test_names_that_stand_twice(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a.png"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"y")
    for form in ("a.tar", "a.zip"):
        with pytest.raises(BenchError, match=r"two members are named 'a\.png'"):
            open_source(tmp_path / form)


def test_a_folder_link_that_leaves_and_one_that_stays(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.png").write_bytes(png(images(1)[0]))
    (tmp_path / "in" / "b.png").symlink_to("deep/a.png")
    assert open_source(tmp_path / "in").names == ["b.png", "deep/a.png"]
    (tmp_path / "other").mkdir()
    (tmp_path / "in" / "c").symlink_to(tmp_path / "other")
    with pytest.raises(BenchError, match="link that leaves"):
        open_source(tmp_path / "in")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side):
    """A valid PNG header of side x side pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 11_000, 60_000])  # ours; where Pillow warns; where it raises
@pytest.mark.filterwarnings("error")
def test_pixel_bombs(tmp_path, side):
    (tmp_path / "a.png").write_bytes(bomb(side))
    [(_, reason)] = stream(open_source(tmp_path), options())
    assert "pixels" in reason and "refused" in reason


def test_byte_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 1000)
    bad_zip(tmp_path / "a.zip", data=bytes(2000))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = 2000
        archive.addfile(member, io.BytesIO(bytes(2000)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(bytes(2000))
    for form in ("a.zip", "a.tar.gz", "folder"):
        [(_, reason)] = stream(open_source(tmp_path / form), options())
        assert "2000 bytes" in reason and "refused" in reason


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "npy", "npz"])
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_truncated_sources(tmp_path, every_form, suffix, part):
    data = (every_form[0] / f"a.{suffix}").read_bytes()
    end = len(data) if suffix != "tar" else len(data.rstrip(b"\0"))
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data[: int(end * part)])
    with pytest.raises(BenchError, match=rf"a\.{suffix}") as caught:
        build_dataset("x", options(source=str(path)), tmp_path / "out" / "x")
    assert "\n" not in str(caught.value)


def test_a_tar_cut_between_two_members(tmp_path, every_form):
    data = (every_form[0] / "a.tar").read_bytes()
    with tarfile.open(every_form[0] / "a.tar") as archive:
        cut = archive.getmembers()[100].offset
    (tmp_path / "a.tar").write_bytes(data[:cut])
    with pytest.raises(BenchError, match="its end is missing"):
        open_source(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": images(3), "b": images(3)}, "one array of images, not 2"),
        ({"labels": np.arange(3)}, "one array of images, not 0"),
        ({"a": images(3).astype(np.int16)}, "dtype int16"),
        ({"a": images(3).transpose(0, 3, 1, 2)[:, :, None]}, "channels last"),
    ],
)
def test_wrong_npz(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BenchError, match=words):
        open_source(tmp_path / "a.npz")


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(BenchError, match=r"a\.npy"):
        open_source(tmp_path / "a.npy")


def test_what_is_no_source(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"hello")
    with pytest.raises(BenchError, match="neither a folder"):
        open_source(tmp_path / "a.bin")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="holds no images"):
        open_source(tmp_path / "empty")


def test_a_name_that_is_no_unicode_can_be_reported(tmp_path):
    bad = (str(tmp_path) + "/bild-").encode() + b"\xff.png"
    with open(bad, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"no image")
    source = open_source(tmp_path)
    assert source.shown(0).encode("utf-8").endswith(b"bild-\\udcff.png")


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


def test_latents_are_arrays_of_four_channels_and_stay_as_they_are(tmp_path):
    latents = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 4), dtype=np.uint8)
    np.save(tmp_path / "a.npy", latents)
    build_dataset("x", options(source=str(tmp_path / "a.npy"), channels=4, test=5), tmp_path / "x")
    both = np.concatenate([np.load(tmp_path / "x" / f"{pool}.npy") for pool in ("train", "test")])
    assert sorted(map(bytes, both)) == sorted(map(bytes, latents))
    for row, words in (({"channels": 4, "resolution": 4}, "taken as they are"), ({}, "taken as they are")):
        with pytest.raises(BenchError, match=words):
            decode(latents[0], options(**row))
    with pytest.raises(BenchError, match="come from an array"):
        decode(png(latents[0]), options(channels=4))


def test_a_grey_array_becomes_colour_and_back(tmp_path):
    grey = images(6)[..., 0]
    np.save(tmp_path / "a.npy", grey)
    build_dataset("x", options(source=str(tmp_path / "a.npy"), test=2), tmp_path / "x")
    pools = open_dataset(tmp_path / "x")
    assert {i[..., 1].tobytes() for i in (*pools.train, *pools.test)} == {i.tobytes() for i in grey}


SERVICE = [
    ".ipynb_checkpoints/1-checkpoint.png",
    "cats/.ipynb_checkpoints/1-checkpoint.png",
    "__MACOSX/cats/._1.png",
    ".DS_Store",
    "cats/@eaDir/1.png/SYNO_THUMB_XL.jpg",
    ".thumbnails/normal/1.png",
    "lost+found/2.png",
    "$RECYCLE.BIN/S-1-5/3.png",
    ".Trash-1000/files/4.png",
    "System Volume Information/x.png",
    "#recycle/5.png",
    "cats/Thumbs.db",
    "cats/desktop.ini",
    "cats/1.sync-conflict-20240101-120000-ABC.png",
    "cats/1 (Ann's conflicted copy 2024-01-01).png",
    "cats/1.png~",
    "cats/2.png.part",
    "__pycache__/x.pyc",
]


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


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz", "lmdb"])
def test_what_systems_and_tools_leave_is_no_data(tmp_path, form, capsys):
    pictures = images(8)
    real = {f"{'cats' if i % 2 else 'dogs'}/{i}.png": png(image) for i, image in enumerate(pictures)}
    litter = {name: png(images(1, seed=9)[0]) for name in SERVICE if form != "lmdb" or "\0" not in name}
    path = packed(tmp_path, form, real | litter)
    row = options(source=str(path), labels="folder", test=2)
    manifest = build_dataset("x", row, tmp_path / "x")
    assert manifest["labels"]["names"] == ["cats", "dogs"]
    assert (manifest["train"], manifest["test"], manifest["skipped"]["count"]) == (6, 2, 0)
    assert "service files are left out" in capsys.readouterr().err


def test_a_name_with_a_dot_or_a_word_of_a_service_stays(tmp_path):
    names = ["a.b/1.png", "lost/2.png", "recycled/3.png", "conflict/4.png", "part/5.tmp.png"]
    path = packed(tmp_path, "folder", {name: png(image) for name, image in zip(names, images(5))})
    assert open_source(path).names == sorted(names)


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


def test_a_zip_from_windows(tmp_path):
    """Backslashes part folders there; a folder is then an entry of its own that ends in one."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cats", "dogs"):
            archive.writestr(f"{name}\\", b"")
        for i, image in enumerate(images(6)):
            archive.writestr(f"{'cats' if i % 2 else 'dogs'}\\{i}.png", png(image))
    source = open_source(tmp_path / "a.zip")
    assert source.names[0] == "cats/1.png" and len(source.names) == 6
    manifest = build_dataset("x", options(source=str(tmp_path / "a.zip"), labels="folder"), tmp_path / "x")
    assert manifest["labels"]["names"] == ["cats", "dogs"]
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("cats/1.png", png(images(1)[0]))
    with pytest.raises(BenchError, match="two members are named 'cats/1.png'"):
        open_source(tmp_path / "a.zip")


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
