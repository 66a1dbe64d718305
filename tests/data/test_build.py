"""Building: pools, duplicates, variants, and what a kill or a second builder leaves."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import torch

from bench.data import dataset, duplicates, procedural
from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions, SourceFile, check_name
from bench.data.pixels import to_network, to_uint8
from bench.data.record import is_current, is_order_current, pool_sizes
from bench.data.subset import read_subset, write_subset
from bench.suite.config import load_datasets
from bench.support.errors import BenchError
from bench.support.files import sha256
from bench.support.fingerprint import fingerprint


def images(count=40, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", images())
    return tmp_path / "a.npy"


def options(source="a.npy", **more):
    return DatasetOptions(**{"title": "x", "resolution": 8, "test": 10, "source": str(source)} | more)


def build(tmp_path, name="x", **more):
    manifest = build_dataset(name, options(**more), tmp_path / name, tmp_path)
    return manifest, open_dataset(tmp_path / name)


def test_same_options_same_bytes(tmp_path, source):
    first = build(tmp_path)[0]
    files = {
        f: sha256(tmp_path / "x" / f) for f in ("train.npy", "validation.npy", "test.npy", "manifest.json")
    }
    assert build(tmp_path)[0] == first
    assert files == {f: sha256(tmp_path / "x" / f) for f in files}
    assert build(tmp_path, seed=1)[0]["sha256"] != first["sha256"]


def test_a_capped_train_pool_is_a_random_draw(tmp_path, source):
    _, dataset = build(tmp_path, train=12)
    order = {image.tobytes(): i for i, image in enumerate(images())}
    train, test = ([order[i.tobytes()] for i in pool] for pool in (dataset.train, dataset.test))
    assert len(train) == 12 and len(test) == 10 and not set(train) & set(test)
    assert build(tmp_path, train=12)[0]["sources"]["source"]["images"] == 22  # no more were decoded
    assert train == sorted(train) != list(range(12))  # a class that comes first in the names is not favoured


def test_a_part_of_the_test_source(tmp_path, source):
    np.save(tmp_path / "b.npy", images(20, seed=1))
    manifest, dataset = build(tmp_path, test_source="b.npy", test=5)
    assert (manifest["train"], manifest["test"]) == (40, 5)
    assert {i.tobytes() for i in dataset.test} <= {i.tobytes() for i in images(20, seed=1)}
    with pytest.raises(BenchError, match="20 of its 20 images left for test, fewer than test = 21"):
        build(tmp_path, test_source="b.npy", test=21)


def test_the_decoded_source_is_hashed(tmp_path, source):
    manifest, _ = build(tmp_path)
    assert manifest["sources"]["source"]["content_sha256"] == hashlib.sha256(images().tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"source": "none.npy", "expected": 7, "home": "https://x.org"},
            "put the 7 images of x .* from https://x.org",
        ),
        ({"expected": 41}, "holds 40 images, x has 41"),
        ({"files": [SourceFile("a.npy", sha256="0" * 64)]}, "a.npy has the sha256 .* fetch it again"),
        ({"sha256": "0" * 64}, "content hash"),
        ({"test": 40}, "no images left for train"),
        ({"train": 31}, "has 30 of its 40 images left for train, fewer than train = 31"),
    ],
)
def test_what_does_not_fit(tmp_path, source, more, words):
    with pytest.raises(BenchError, match=words):
        build(tmp_path, **more)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy"]


def test_a_failed_build_leaves_the_older_one(tmp_path, source):
    before = build(tmp_path)[0]
    np.save(tmp_path / "a.npy", images().astype(float))
    with pytest.raises(BenchError):
        build(tmp_path)
    assert open_dataset(tmp_path / "x").manifest == before


def test_names_that_would_leave_the_folder(tmp_path, source):
    with pytest.raises(BenchError, match=r"cannot be named '\.\./x'"):
        build_dataset("../x", options(), tmp_path / "x", tmp_path)


def test_near_duplicates_are_named_and_dropped(tmp_path):
    train = images(30, 16)
    noise = np.random.default_rng(2).normal(0, 6, (2, 16, 16, 3))
    close = np.clip(train[3:5] + noise, 0, 255).astype(np.uint8)
    np.save(tmp_path / "a.npy", train)
    np.save(tmp_path / "b.npy", np.concatenate([train[:1], close, images(4, 16, seed=1)]))
    row = {"test_source": "b.npy", "test": 0, "resolution": 16, "drop_from": "test"}
    manifest, _ = build(tmp_path, **row)
    found = manifest["duplicates"]
    assert (found["exact"]["test"], found["near"]["test"], found["dropped"]["test"]) == (1, 2, 3)
    assert (manifest["train"], manifest["test"]) == (30, 4)
    listed = [line.split(",")[:4] for line in (tmp_path / "x" / "duplicates.csv").read_text().splitlines()]
    pairs = [["test", f"image {i}", "train", f"image {j}"] for i, j in ((0, 0), (1, 3), (2, 4))]
    assert listed == [["pool", "image", "other_pool", "other_image"], *pairs]
    manifest, _ = build(tmp_path, **row, near_duplicates="keep")
    assert manifest["duplicates"]["dropped"]["test"] == 1 and manifest["test"] == 6
    manifest, _ = build(tmp_path, **row | {"drop_from": "train"})
    assert (manifest["train"], manifest["test"]) == (27, 7)
    np.save(tmp_path / "b.npy", train[:3])
    with pytest.raises(BenchError, match="every test image is in another pool too"):
        build(tmp_path, **row)


def test_no_two_pools_share_an_image(tmp_path):
    """Each image of the source is in it twice: whatever is drawn, no copy may end in two pools."""
    np.save(tmp_path / "a.npy", np.repeat(images(60), 2, axis=0))
    for drop_from in ("train", "test"):
        manifest, dataset = build(tmp_path, test=20, validation=20, drop_from=drop_from)
        pools = [
            {image.tobytes() for image in pool} for pool in (dataset.train, dataset.validation, dataset.test)
        ]
        assert not pools[0] & pools[1] and not pools[0] & pools[2] and not pools[1] & pools[2]
        assert (manifest["test"] == 20) == (drop_from == "train")
        assert manifest["validation"] < 20


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"test": 10, "validation": 4}, (26, 4, 10)),
        ({"test_source": "b.npy", "test": 5, "validation": 3}, (40, 3, 5)),  # both of test_source
        ({"test_source": "b.npy", "test": 0, "validation": 3}, (37, 3, 12)),  # test is all of its source
        ({"test_source": "b.npy", "test": 0, "validation_source": "c.npy"}, (40, 6, 12)),
        ({"test": 10, "validation_source": "c.npy", "validation": 2}, (30, 2, 10)),
        ({"test": 10}, (30, 0, 10)),
    ],
)
def test_where_the_validation_images_come_from(tmp_path, source, more, expected):
    np.save(tmp_path / "b.npy", images(12, seed=1))
    np.save(tmp_path / "c.npy", images(6, seed=2))
    manifest, dataset = build(tmp_path, **more)
    assert tuple(manifest[pool] for pool in ("train", "validation", "test")) == expected
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == list(expected)


def test_the_first_pools_do_not_move_when_validation_images_are_asked_for(tmp_path, source):
    """The content hash, which runs are trained on, covers train and test; validation has its own."""
    small = build(tmp_path, train=20)[0]
    large = build(tmp_path, train=20, validation=0, test_source=None)[0]
    assert small["sha256"] == large["sha256"]
    row = {"title": "x", "resolution": 8, "channels": 1, "family": "disks", "train": 10, "test": 5}
    plain = build_dataset("y", DatasetOptions(**row), tmp_path / "y")
    more = build_dataset("z", DatasetOptions(**row, validation=7), tmp_path / "z")
    assert plain["sha256"] == more["sha256"] and (plain["validation"], more["validation"]) == (0, 7)
    drawn = open_dataset(tmp_path / "z")
    pools = (drawn.train, drawn.validation, drawn.test)
    assert len({image.tobytes() for pool in pools for image in pool}) == 22


@pytest.mark.parametrize("side", [5, 8, 13, 32])
def test_fingerprints_never_exceed_the_distance(side):
    """No near duplicate is missed: the first comparison is a lower bound of the second."""
    a, b = (images(20, side, seed).astype(np.uint8) for seed in (0, 1))
    bound = ((duplicates.fingerprints(a) - duplicates.fingerprints(b)) ** 2).sum(1)
    assert (bound <= ((a.astype(float) - b) ** 2).mean((1, 2, 3)) + 1e-2).all()
    flat = np.stack([np.full((side, side, 3), v, np.uint8) for v in (100, 107, 110)])
    assert [pair[:2] for pair in duplicates.near(flat[:1], flat[1:])] == [(0, 0)]


def test_the_test_pool_does_not_move_when_the_train_pool_grows(tmp_path):
    def row(train):
        return DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=train, test=5)

    small = build_dataset("x", row(10), tmp_path / "x")
    large = build_dataset("y", row(30), tmp_path / "y")
    assert small["test_sha256"] == large["test_sha256"]
    np.testing.assert_array_equal(open_dataset(tmp_path / "x").train, open_dataset(tmp_path / "y").train[:10])


def test_a_changed_manifest_is_seen(tmp_path, source):
    build(tmp_path)
    path = tmp_path / "x" / "manifest.json"
    path.write_text(path.read_text().replace('"test": 10', '"test": 9'))
    with pytest.raises(BenchError, match=r"test\.npy holds"):
        open_dataset(tmp_path / "x")
    path.write_text("{}")
    with pytest.raises(BenchError, match=r"manifest\.json lacks 'resolution'"):
        open_dataset(tmp_path / "x")


def test_a_subset_of_other_data_or_a_damaged_one(tmp_path, source):
    _, dataset = build(tmp_path)
    write_subset(tmp_path / "x", 0, tmp_path / "s0.npz")
    _, other = build(tmp_path, "y", seed=1)
    with pytest.raises(BenchError, match="belongs to another version of y"):
        read_subset(tmp_path / "s0.npz", other, 5)
    (tmp_path / "s0.npz").write_bytes((tmp_path / "s0.npz").read_bytes()[:100])
    with pytest.raises(
        BenchError, match=r"s0\.npz is missing or damaged.*`bench data subset x --shuffle 0 --out "
    ):
        read_subset(tmp_path / "s0.npz", dataset, 5)


def test_pixels_round_trip():
    pixels = images(2)
    x = to_network(pixels)
    assert x.shape == (2, 3, 8, 8) and x.dtype == torch.float32 and x.abs().max() <= 1
    torch.testing.assert_close(x[0, 1, 2, 3].item(), float(pixels[0, 2, 3, 1]) / 127.5 - 1)
    np.testing.assert_array_equal(to_uint8(x).numpy(), pixels)
    np.testing.assert_array_equal(to_network(torch.tensor(pixels)), x)
    assert to_uint8(torch.full((1, 1, 1, 1), 3.0)).item() == 255


CODE = fingerprint("bench.data.build")


def test_a_dataset_knows_whether_it_is_what_its_row_says(tmp_path, source):
    """Whoever built it: the record is what counts, not the tool that ran the build."""
    row = options(validation=4)
    folder = tmp_path / "x"
    assert not is_current(folder, row, CODE)
    build_dataset("x", row, folder, tmp_path)
    assert is_current(folder, row, CODE)
    assert not is_current(folder, options(validation=5), CODE) and not is_current(folder, row, "other code")
    (folder / "test.npy").rename(folder / "t.npy")
    assert not is_current(folder, row, CODE)
    (folder / "t.npy").rename(folder / "test.npy")
    (folder / "manifest.json").write_text("{")
    assert not is_current(folder, row, CODE)


def test_a_variant_is_out_of_date_where_its_base_changed(tmp_path, source):
    base, view = options(), options(base="x", resolution=4)
    build_dataset("x", base, tmp_path / "x", tmp_path)
    build_dataset("v", view, tmp_path / "v", tmp_path)
    assert is_current(tmp_path / "v", view, CODE)
    build_dataset("x", options(seed=1), tmp_path / "x", tmp_path)
    assert not is_current(tmp_path / "v", view, CODE)


def test_an_order_knows_whether_it_belongs_to_the_dataset(tmp_path):
    code, file = fingerprint("bench.data.subset"), tmp_path / "s0.npz"
    assert not is_order_current(file, tmp_path / "x", code)
    row = {"title": "x", "resolution": 8, "channels": 1, "family": "disks", "train": 10, "test": 5}
    build_dataset("x", DatasetOptions(**row), tmp_path / "x")
    write_subset(tmp_path / "x", 0, file)
    assert is_order_current(file, tmp_path / "x", code)
    assert not is_order_current(file, tmp_path / "x", "other code")
    for more in ({"seed": 1}, {"validation": 3}):  # the second leaves the content hash as it was
        build_dataset("x", DatasetOptions(**row | more), tmp_path / "x")
        assert not is_order_current(file, tmp_path / "x", code)


@pytest.mark.parametrize(
    ("more", "before", "after"),
    [
        ({"test": 10, "validation": 4}, (None, 4, 10), (26, 4, 10)),
        ({"test": 10, "validation": 4, "expected": 40}, (26, 4, 10), (26, 4, 10)),
        ({"test": 10, "train": 5}, (5, 0, 10), (5, 0, 10)),
        ({"test_source": "b.npy", "test": 0, "test_expected": 12}, (None, 0, 12), (40, 0, 12)),
    ],
)
def test_pool_sizes_are_known_before_and_after_building(tmp_path, source, more, before, after):
    np.save(tmp_path / "b.npy", images(12, seed=1))
    row, folder = options(**more), tmp_path / "x"
    assert tuple(pool_sizes(folder, row).values()) == before
    build_dataset("x", row, folder, tmp_path)
    assert tuple(pool_sizes(folder, row).values()) == after
    view = options(**more, base="x", resolution=4)
    assert tuple(pool_sizes(tmp_path / "v", view).values()) == after
    assert tuple(pool_sizes(tmp_path / "none", row).values()) == before
    assert tuple(pool_sizes(folder, options(**more, seed=1)).values()) == before


def test_pool_sizes_of_families(tmp_path):
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=10, test=5)
    assert pool_sizes(tmp_path / "x", row) == {"train": 10, "validation": 0, "test": 5}


def test_content_is_read_again_only_where_a_file_changed(tmp_path, source, monkeypatch):
    build(tmp_path)
    read = []

    def reading(images, real=dataset.content_hash):
        read.append(len(images))
        return real(images)

    monkeypatch.setattr(dataset, "content_hash", reading)
    open_dataset(tmp_path / "x")
    assert not read
    data = (tmp_path / "x" / "train.npy").read_bytes()
    (tmp_path / "x" / "train.npy").write_bytes(data)
    open_dataset(tmp_path / "x")
    open_dataset(tmp_path / "x")
    assert read == [30]
    open_dataset(tmp_path / "x", verify=True)
    assert read == [30, 30, 0, 10]
    # the same size and time of change, other bytes: only the full check can see it
    stat = (tmp_path / "x" / "train.npy").stat()
    (tmp_path / "x" / "train.npy").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(tmp_path / "x" / "train.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    open_dataset(tmp_path / "x")
    with pytest.raises(BenchError, match=r"train\.npy is corrupted"):
        open_dataset(tmp_path / "x", verify=True)


def test_vectors_are_stored_as_they_are(tmp_path):
    given = {"title": "x", "resolution": 1, "channels": 8, "family": "mixture", "train": 30, "test": 5}
    row = DatasetOptions(**given, validation=4)
    manifest = build_dataset("x", row, tmp_path / "x")
    pools = open_dataset(tmp_path / "x")
    assert pools.train.shape == (30, 1, 1, 8) and pools.train.dtype == manifest["dtype"] == "float32"
    drawn = procedural.draw(row, 0, 30)
    np.testing.assert_array_equal(pools.train, drawn.astype(np.float32))
    seen = to_network(pools.train[:3])
    assert seen.shape == (3, 8, 1, 1)
    np.testing.assert_array_equal(seen[..., 0, 0], pools.train[:3, 0, 0])
    for more, words in (({"resolution": 2}, "resolution must be 1"), ({"variant": "permuted"}, "no variant")):
        with pytest.raises(ValueError, match=words):
            DatasetOptions(**given | more)


@pytest.mark.parametrize("name", ["a b", "it's", "ä", "a/b", "", "-x", "a.b"])
def test_names_that_are_refused(name):
    with pytest.raises(BenchError, match="cannot be named"):
        check_name(name)


@pytest.mark.parametrize(("name", "kind"), [(False, "bool"), (16, "int"), (1e3, "float"), (None, "NoneType")])
def test_names_that_yaml_reads_as_something_else(name, kind):
    with pytest.raises(
        BenchError, match=f"file.yaml: the name {name!r} is read by YAML as {kind}; write it in"
    ):
        check_name(name, "file.yaml: ")


@pytest.mark.parametrize("name", ['"it\'s"', '"a b"', "ä"])
def test_a_row_with_such_a_name_is_refused_when_rows_are_read(tmp_path, monkeypatch, name):
    row = "{title: x, resolution: 8, channels: 1, family: disks, train: 4, test: 2}"
    (tmp_path / "datasets.yaml").write_text(f"{name}: {row}\n", encoding="utf-8")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path))
    with pytest.raises(BenchError, match=r"datasets\.yaml: a dataset cannot be named"):
        load_datasets()
