"""Variants: the same pools, permuted, grey or smaller."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.data import views
from bench.data.build import build_dataset
from bench.data.dataset import content_hash, open_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import read_subset, write_subset
from bench.suite import config
from bench.support.errors import BenchError


def images(count=40, side=8, channels=3, seed=0):
    shape = (count, side, side, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def base(tmp_path):
    np.save(tmp_path / "a.npy", images())
    row = DatasetOptions(title="x", resolution=8, test=10, validation=4, source="a.npy")
    build_dataset("x", row, tmp_path / "x", tmp_path)
    return open_dataset(tmp_path / "x")


def derive(tmp_path, name, **more):
    given = {"title": name, "resolution": 8, "test": 10, "source": "a.npy", "base": "x"} | more
    build_dataset(name, DatasetOptions(**given), tmp_path / name, tmp_path)
    return open_dataset(tmp_path / name)


def test_permuted_grey_and_smaller(tmp_path, base):
    order = views.pixel_permutation(8)
    assert sorted(order) == list(range(64)) and (order != np.arange(64)).any()
    permuted = derive(tmp_path, "p", variant="permuted")
    for pool in ("train", "validation", "test"):
        one, two = (getattr(d, pool)[:].reshape(-1, 64, 3) for d in (base, permuted))
        np.testing.assert_array_equal(two, one[:, order])
    grey = derive(tmp_path, "g", variant="grey", channels=1)
    expected = np.asarray(Image.fromarray(base.train[0]).convert("L"))
    np.testing.assert_array_equal(grey.train[0][..., 0], expected)
    small = derive(tmp_path, "s", resolution=4, variant="permuted")
    assert small.train.shape == (26, 4, 4, 3) and small.manifest["resolution"] == 4
    resized = Image.fromarray(base.test[3]).resize((4, 4), Image.Resampling.BICUBIC)
    made = np.asarray(resized).reshape(16, 3)[views.pixel_permutation(4)].reshape(4, 4, 3)
    np.testing.assert_array_equal(small.test[3], made)


def test_a_variant_has_a_hash_of_its_own_and_the_pools_of_its_base(tmp_path, base):
    view = derive(tmp_path, "p", variant="permuted")
    assert view.manifest["sha256"] != base.manifest["sha256"] == view.manifest["base_sha256"]
    assert view.manifest["train_sha256"] == content_hash(view.train)
    for name in ("x", "p"):
        write_subset(tmp_path / name, 0, tmp_path / f"{name}.npz")
    subsets = [read_subset(tmp_path / f"{d.folder.name}.npz", d, 12) for d in (base, view)]
    for one, two in zip(*subsets):
        np.testing.assert_array_equal(one, two)


def test_what_cannot_be_a_variant(tmp_path, base):
    with pytest.raises(BenchError, match="more than the 8 of its base x"):
        derive(tmp_path, "p", resolution=16)
    derive(tmp_path, "p", variant="permuted")
    with pytest.raises(BenchError, match="is itself a variant"):
        derive(tmp_path, "q", base="p", variant="permuted")
    with pytest.raises(BenchError, match="q has 1 channels, its base x has 3; leave channels out"):
        derive(tmp_path, "q", channels=1)
    with pytest.raises(BenchError, match="There is no dataset in .*none"):
        derive(tmp_path, "q", base="none", variant="permuted")


def test_grey_images_stay_and_are_resized():
    plain = images(6, channels=1)
    row = DatasetOptions("x", 4, test=1, source="a", channels=1, variant="grey", filter="box")
    expected = Image.fromarray(plain[2, ..., 0]).resize((4, 4), Image.Resampling.BOX)
    np.testing.assert_array_equal(views.seen(plain, row)[2, ..., 0], np.asarray(expected))


def test_a_variant_of_an_import_without_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", images())
    words = ["data", "import", "mine", "--source", "a.npy", "--resolution", "8", "--test", "5"]
    assert main([*words, "--variant", "permuted"]) == 0
    seen = open_dataset("results/datasets/mine")
    assert main([*words[:2], "plain", *words[3:]]) == 0
    plain = open_dataset("results/datasets/plain").train[:].reshape(35, 64, 3)
    np.testing.assert_array_equal(seen.train[:].reshape(35, 64, 3), plain[:, views.pixel_permutation(8)])


def test_a_row_brings_its_base_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "build", "disks-16-permuted"]) == 0
    plain, seen = (open_dataset(f"results/datasets/{name}") for name in ("disks-16", "disks-16-permuted"))
    shuffled = plain.train[:].reshape(2000, 256)[:, views.pixel_permutation(16)]
    np.testing.assert_array_equal(seen.train[:].reshape(2000, 256), shuffled)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{base: disk-8, title: x}", "there is no dataset 'disk-8'.*did you mean 'disks-8'"),
        ("{base: disks-16-permuted, title: x}", "is itself a variant"),
        ("{base: disks-8, title: x, seed: 3}", "seed is that of the base disks-8"),
        ("{base: disks-8, title: x, balanced: true}", "has no labels"),
    ],
)
def test_rows_that_do_not_fit_their_base(tmp_path, monkeypatch, row, words):
    rows = (config.folder() / "datasets.yaml").read_text()
    (tmp_path / "datasets.yaml").write_text(f"{rows}\nmine: {row}\n")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path))
    with pytest.raises(BenchError, match=words):
        config.load_datasets()
