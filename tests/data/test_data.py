"""Datasets: closed forms of the families, imports, splits, hashes, and what goes wrong."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import read_subset, write_subset
from bench.support.errors import BenchError


def images(count=12, side=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    (path / "deep").mkdir(parents=True)
    for i, image in enumerate(images()):
        Image.fromarray(image).save(path / ("deep" if i % 2 else ".") / f"bild-ä{i:02d}.png")
    return path


def options(source, **more):
    given = {"title": "x", "resolution": 8, "test": 3, "source": str(source)} | more
    return DatasetOptions(**given)


def build(tmp_path, source, **more):
    return build_dataset("x", options(source, **more), tmp_path / "out" / "x")


def test_resizing_is_pillows_antialiased_filter(tmp_path):
    np.save(tmp_path / "a.npy", images(4, 20))
    build(tmp_path, tmp_path / "a.npy", test=1, filter="lanczos")
    dataset = open_dataset(tmp_path / "out" / "x")
    made = {image.tobytes() for image in (*dataset.train, *dataset.test)}
    expected = {Image.fromarray(i).resize((8, 8), Image.Resampling.LANCZOS).tobytes() for i in images(4, 20)}
    assert made == expected


def test_subsets_are_nested_disjoint_and_checked(tmp_path):
    np.save(tmp_path / "a.npy", images(40, 8))
    build(tmp_path, tmp_path / "a.npy", test=6, validation=4)
    dataset = open_dataset(tmp_path / "out" / "x")
    for shuffle in (0, 1):
        write_subset(tmp_path / "out" / "x", shuffle, tmp_path / f"s{shuffle}.npz")
    small = read_subset(tmp_path / "s0.npz", dataset, 5).train
    large, test, validation = read_subset(tmp_path / "s0.npz", dataset, 30)
    other = read_subset(tmp_path / "s1.npz", dataset, 5).train
    assert large[:5].tolist() == small.tolist() != other.tolist()
    assert sorted(large) == list(range(30)) and sorted(test) == list(range(6))
    assert sorted(validation) == list(range(4))
    assert not {i.tobytes() for i in dataset.train} & {i.tobytes() for i in dataset.test}
    with pytest.raises(BenchError, match="30 training images, fewer than N = 31"):
        read_subset(tmp_path / "s0.npz", dataset, 31)


def spoil(folder, kind, tmp_path):
    target = folder / "bild-ä00.png"
    if kind == "text":
        (folder / "notes.txt").write_text("hello")
    elif kind == "truncated":
        target.write_bytes(target.read_bytes()[:60])
    elif kind == "empty":
        target.write_bytes(b"")
    elif kind == "link":
        outside = tmp_path / "outside.png"
        outside.write_bytes(target.read_bytes())
        (folder / "link.png").symlink_to(outside)
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "'notes.txt' is not an image"),
        ("truncated", "bild-ä00.png does not decode"),
        ("empty", "bild-ä00.png is empty"),
        ("link", "link that leaves"),
    ],
)
def test_bad_folders_are_one_sentence_and_leave_nothing(tmp_path, folder, kind, words):
    with pytest.raises(BenchError, match=words) as caught:
        build(tmp_path, spoil(folder, kind, tmp_path))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_broken_files_can_be_skipped_and_are_counted(tmp_path, folder):
    manifest = build(tmp_path, spoil(folder, "truncated", tmp_path), on_error="skip")
    assert manifest["train"] + manifest["test"] == 11 and manifest["skipped"]["count"] == 1
    assert "bild-ä00.png" in manifest["skipped"]["files"][0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 8, 8, 3)), "dtype float64; images must be uint8"),
        (np.zeros((4, 8, 8, 2), np.uint8), r"shape \(4, 8, 8, 2\)"),
        (np.zeros((64,), np.uint8), "shape"),
    ],
)
def test_wrong_arrays(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BenchError, match=words):
        build(tmp_path, tmp_path / "a.npy")


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "I;16"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / "images"
    path.mkdir()
    for i, image in enumerate(images(4, 8)):
        grey = image[..., 0]
        picture = (
            Image.fromarray(grey.astype(np.uint16) * 257)
            if mode == "I;16"
            else Image.fromarray(image).convert(mode)
        )
        picture.save(path / f"{i}.{'tif' if mode == 'CMYK' else 'png'}")
    build(tmp_path, path, test=1)
    dataset = open_dataset(tmp_path / "out" / "x")
    assert dataset.train.shape == (3, 8, 8, 3)
    if mode == "I;16":
        originals = {i[..., 0].tobytes() for i in images(4, 8)}
        assert {np.ascontiguousarray(i[..., 0]).tobytes() for i in dataset.train} <= originals


@pytest.mark.parametrize(("pool", "spoiled"), [("train", "flip"), ("test", "cut"), ("manifest", "cut")])
def test_a_corrupted_dataset_is_named(tmp_path, pool, spoiled):
    np.save(tmp_path / "a.npy", images())
    build(tmp_path, tmp_path / "a.npy")
    path = tmp_path / "out" / "x" / f"{pool}.{'json' if pool == 'manifest' else 'npy'}"
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if spoiled == "flip" else data[:-40])
    with pytest.raises(BenchError, match=path.name):
        open_dataset(tmp_path / "out" / "x")


def test_the_command_line_reports_and_exits(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "import", "mine", "--source", str(folder), "--resolution", "8", "--test", "3"]) == 0
    assert main(["data", "verify", "mine"]) == 0
    assert main(["data", "show", "mine"]) == 0
    assert (tmp_path / "results/datasets/mine/train.png").exists()
    assert main(["data", "import", "other", "--source", "nowhere", "--resolution", "8", "--test", "3"]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small tmpfs")
def test_full_disk_leaves_no_half_dataset(tmp_path):
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True
    ).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        np.save(tmp_path / "a.npy", images(2000, 8))
        with pytest.raises(BenchError, match="Cannot write"):
            build_dataset("x", options(tmp_path / "a.npy"), small / "x")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)
