"""Sources: what is read from where, in which order, and what is refused."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from pictures import chunk, images, options, packed, png

from bench.data import sources
from bench.data.build import build_dataset
from bench.data.conversion import decode, stream
from bench.data.dataset import open_dataset
from bench.data.sources import open_source
from bench.support.errors import BenchError


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
        with pytest.raises(BenchError, match="points outside the archive"):
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
    assert "hidden or system files are skipped" in capsys.readouterr().err


def test_a_name_with_a_dot_or_a_word_of_a_service_stays(tmp_path):
    names = ["a.b/1.png", "lost/2.png", "recycled/3.png", "conflict/4.png", "part/5.tmp.png"]
    path = packed(tmp_path, "folder", {name: png(image) for name, image in zip(names, images(5))})
    assert open_source(path).names == sorted(names)


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
