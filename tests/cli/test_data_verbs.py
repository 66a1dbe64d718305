"""``bench data``: what it prints, and that a failure is one line and status 1."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.suite.config import load_datasets
from bench.support.files import read_json


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current folder whose data/ holds one array."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    (tmp_path / "data").mkdir()
    np.save("data/a.npy", np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8))
    return tmp_path


def words(*more):
    return ["data", "import", "mine", "--source", "data/a.npy", "--resolution", "8", "--test", "5", *more]


def test_from_images_to_a_subset(place, capsys):
    assert main(words("--no-redistribute", "--crop", "0,0,4,4", "--filter", "box", "--workers", "1")) == 0
    assert main(["data", "verify", "mine"]) == 0
    assert main(["data", "show", "mine", "--out", "sheets"]) == 0
    shown = capsys.readouterr()
    means = ", ".join(f"{value:.2f}" for value in np.load("results/datasets/mine/train.npy").mean((0, 1, 2)))
    assert f"train: 25 images, channel means {means}" in shown.out and "test is 5 of source" in shown.out
    assert "must not be redistributed" in shown.err
    assert (place / "sheets" / "test.png").stat().st_size > 0
    assert main(["data", "subset", "results/datasets/mine", "--shuffle", "3", "--out", "s3.npz"]) == 0
    with np.load("s3.npz") as file:
        assert sorted(file["train"]) == list(range(25)) and file["train"].dtype == np.int64


def test_an_import_does_not_take_the_place_of_another_dataset(place, capsys):
    assert main(words()) == main(words()) == 0
    before = read_json("results/datasets/mine/manifest.json")
    assert main(words("--crop", "0,0,4,4")) == 1
    assert "mine was made from other images or options; choose another name" in capsys.readouterr().err
    assert read_json("results/datasets/mine/manifest.json") == before
    other = [*words()[:2], "disks-8", *words()[3:]]
    assert main(other) == 1 and "disks-8 is a dataset of config/datasets.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop", "middle"], "crop"),
        (["--crop", "1,2,3"], "four|left, top"),
        (["--filter", "cubic"], "filter"),
        (["--variant", "gray"], "variant"),
        (["--workers", "0"], "'--workers'.*greater than or equal to 1"),
        (["--source", "data/b.npy"], "b.npy does not exist: put the images of mine"),
        (["--test", "30"], "no images left for train"),
    ],
)
def test_bad_flags(place, capsys, more, message):
    import re

    assert main(words(*more)) in (1, 2)
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert re.search(message, line), line
    assert not (place / "results").exists() or not list((place / "results" / "datasets").iterdir())


def test_list_says_what_is_missing_and_where_it_comes_from(place, capsys):
    assert main(["data", "list"]) == 0
    lines, name = {}, ""
    for line in capsys.readouterr().out.splitlines():
        name = name if line.startswith(" ") else line.split()[0]
        lines[name] = lines.get(name, "") + line
    assert set(lines) == set(load_datasets())
    # which file, where, how large, its checksum, where from
    for word in (
        "img_align_celeba.zip (1.44 GB, sha256 46fb89443c57",
        "into data/celeba",
        "manually, then checked and unpacked by `bench data fetch celeba` from https://mmlab.ie.cuhk.edu.hk",
    ):
        assert word in lines["celeba"]
    assert "downloaded by `bench data fetch lsun-church`" in lines["lsun-church"]
    assert "put the 16000 images" in lines["scenes-32"]
    assert "Imagenet32_train_npz.zip (3.58 GB, sha256 94226337ecc1" in lines["imagenet-downsampled"]
    assert "draws it" in lines["disks-16"] and "a view of disks-16" in lines["disks-16-permuted"]


def test_a_missing_source_and_an_unknown_row(place, capsys):
    assert main(["data", "build", "lsun-church"]) == 1
    assert "church_outdoor_train_lmdb.zip (2.45 GB, sha256 91128ae02684" in capsys.readouterr().err
    assert main(["data", "build", "disk-8"]) == 1
    assert "did you mean 'disks-8'" in capsys.readouterr().err


def test_a_row_is_built(place):
    assert main(["data", "build", "disks-8"]) == 0
    assert np.load("results/datasets/disks-8/train.npy").shape == (200, 8, 8, 1)


def test_list_follows_the_files(place, capsys):
    def state(name):
        assert main(["data", "list"]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.split()[0] == name)

    np.save("data/scenes.npy", np.zeros((1, 8, 8, 3), np.uint8))
    assert "source is here, `bench data build scenes-32`" in state("scenes-32")
    (place / "data" / "cifar10").mkdir()
    assert "missing" in state("cifar10")
    assert main(["data", "build", "cifar10"]) == 1
    error = capsys.readouterr().err
    assert (
        "cifar10 is not complete: run `bench data fetch cifar10`, or put cifar-10-python.tar.gz (170 MB"
        in error
    )
    (place / "data" / "cifar10" / "cifar-10-python.tar.gz").touch()
    assert "`bench data fetch cifar10` checks and unpacks" in state("cifar10")
    assert main(["data", "build", "cifar10"]) == 1
    assert "unpack the files of cifar10 with `bench data fetch cifar10`" in capsys.readouterr().err
    (place / "data" / "cifar10" / "cifar-10-batches-py").mkdir()
    assert "source is here" in state("cifar10")
    assert main(["data", "build", "disks-8"]) == 0
    assert "built" in state("disks-8")


def test_import_of_a_zip(tmp_path, monkeypatch):
    """As the page on data has it."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in range(700):
            with archive.open(f"{number}.png", "w") as file:
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), "uint8")).save(file, "png")
    monkeypatch.chdir(tmp_path)
    words = ["data", "import", "mine", "--source", "photos.zip", "--resolution", "32", "--workers", "1"]
    assert main([*words, "--validation", "300", "--test", "300"]) == 0
    made = read_json("results/datasets/mine/manifest.json")
    assert [made[pool] for pool in ("train", "validation", "test")] == [100, 300, 300]
