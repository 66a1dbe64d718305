"""LMDB, CelebA, CIFAR-10 and ImageNet's batches: small files in their true formats; labels."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct

import lmdb
import numpy as np
import pytest
from PIL import Image

from bench.data import layouts
from bench.data.build import build_dataset
from bench.data.conversion import stream
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.data.sources import open_source
from bench.data.subset import read_subset, write_subset
from bench.support.errors import BenchError


def images(count, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, lossless=True)
    return buffer.getvalue()


def options(**more):
    return DatasetOptions(**{"title": "x", "resolution": 8, "test": 3, "source": "x"} | more)


def write_lmdb(path, pictures):
    """As LSUN's are written: the key is a hash of the image, the value a WebP file."""
    values = {
        hashlib.sha1(image.tobytes()).hexdigest().encode(): encoded(image, "WEBP") for image in pictures
    }
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return values


@pytest.mark.parametrize("workers", [1, 2])
def test_lmdb(tmp_path, workers):
    pictures = images(90)
    values = write_lmdb(tmp_path / "x", pictures)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in (tmp_path / "x").iterdir())
    source = open_source(tmp_path / "x")
    assert [name.encode() for name in source.names] == sorted(values)
    by_hash = {hashlib.sha1(image.tobytes()).hexdigest(): image for image in pictures}
    for position, image in stream(source, options(), workers):
        np.testing.assert_array_equal(image, by_hash[source.names[position]])
    assert before == sorted((file.name, file.stat().st_mtime_ns) for file in (tmp_path / "x").iterdir())


def test_lmdb_and_the_exported_folder_give_the_same_dataset(tmp_path):
    (tmp_path / "folder").mkdir()
    for key, value in write_lmdb(tmp_path / "x", images(20)).items():
        (tmp_path / "folder" / f"{key.decode()}.webp").write_bytes(value)
    made = [
        build_dataset("y", options(source=source), tmp_path / "y", tmp_path)["sha256"]
        for source in ("x", "folder")
    ]
    assert made[0] == made[1]


def test_damaged_lmdb(tmp_path):
    write_lmdb(tmp_path / "x", images(90))
    path = tmp_path / "x" / "data.mdb"
    data = path.read_bytes()
    for size in (len(data) // 2, 100, 0):
        path.write_bytes(data[:size])
        with pytest.raises(BenchError, match="x cannot be read: it is damaged or truncated"):
            open_source(tmp_path / "x")
    path.unlink()
    write_lmdb(tmp_path / "empty", [])
    with pytest.raises(BenchError, match="empty holds no images"):
        open_source(tmp_path / "empty")


def test_a_broken_value_of_an_lmdb_is_named(tmp_path):
    values = write_lmdb(tmp_path / "x", images(9))
    key = sorted(values)[4]
    with (
        lmdb.open(str(tmp_path / "x"), map_size=2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(key, b"no image")
    with pytest.raises(BenchError, match=f"x/{key.decode()} is not an image"):
        build_dataset("y", options(), tmp_path / "y", tmp_path)


@pytest.fixture
def datasets():
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    import torchvision.datasets

    return torchvision.datasets


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


CELEBA = {
    "list_eval_partition.txt": ("", lambda i: "0" if i < 7 else "1" if i < 11 else "2"),
    "identity_CelebA.txt": ("", lambda i: str(100 + i)),
    "list_bbox_celeba.txt": ("12\nimage_id x_1 y_1 width height\n", lambda i: " 95  71 226 313"),
    "list_landmarks_align_celeba.txt": (
        "12\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x "
        "rightmouth_y \n",
        lambda i: "69 109 106 113 77 142 73 152 108 154",
    ),
    "list_attr_celeba.txt": ("12\nBangs Smiling Young \n", lambda i: f"-1  1 {'-1' if i % 2 else ' 1'}"),
}


@pytest.fixture
def celeba(tmp_path, datasets, monkeypatch):
    """Twelve images and their five lists, written as the owners' are."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(12)]
    for name, image in zip(names, images(12)):
        (folder / "img_align_celeba" / name).write_bytes(encoded(image))
    for file, (head, line) in CELEBA.items():
        (folder / file).write_text(head + "".join(f"{name} {line(i)}\n" for i, name in enumerate(names)))
    files = [("", md5(folder / file), file) for file in CELEBA]
    monkeypatch.setattr(datasets.CelebA, "file_list", [("", "0" * 32, "img_align_celeba.zip"), *files])
    return folder


def test_celeba_with_its_official_split_and_attributes(tmp_path, celeba):
    row = options(source="celeba", test_source="celeba", layout="celeba", test=0, expected=7, test_expected=4)
    manifest = build_dataset("y", row, tmp_path / "y", tmp_path)
    dataset = open_dataset(tmp_path / "y")
    np.testing.assert_array_equal(dataset.train, images(12)[:7])
    np.testing.assert_array_equal(dataset.test, images(12)[7:11])
    assert manifest["labels"]["names"] == ["Bangs", "Smiling", "Young"]
    np.testing.assert_array_equal(dataset.labels("train"), [[0, 1, (i + 1) % 2] for i in range(7)])
    with pytest.raises(BenchError, match="no classes to balance"):
        write_subset(tmp_path / "y", 0, tmp_path / "s.npz", balanced=True)


def test_celeba_files_that_are_missing_or_changed(celeba):
    def opened():
        return layouts.open_layout(celeba, "celeba", test=False)

    (celeba / "img_align_celeba").rename(celeba / "elsewhere")
    with pytest.raises(BenchError, match=r"unpack img_align_celeba\.zip"):
        opened()
    with (celeba / "list_bbox_celeba.txt").open("a") as file:
        file.write("\n")
    with pytest.raises(BenchError, match=r"list_bbox_celeba\.txt is missing or not the official file"):
        opened()
    (celeba / "identity_CelebA.txt").unlink()
    with pytest.raises(BenchError, match=r"identity_CelebA\.txt is missing or not the official file \(md5"):
        opened()


@pytest.fixture
def cifar10(tmp_path, datasets, monkeypatch):
    """Two training batches of six images, a test batch of five, and the names of the classes."""
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pictures, kind = images(17, 32), datasets.CIFAR10
    parts = {"data_batch_1": slice(0, 6), "data_batch_2": slice(6, 12), "test_batch": slice(12, 17)}
    for name, part in parts.items():
        data = pictures[part].transpose(0, 3, 1, 2).reshape(-1, 3072)
        labels = [i % 3 for i in range(len(data))]
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog", "ship"]}, protocol=2))
    sums = [[name, md5(folder / name)] for name in parts]
    monkeypatch.setattr(kind, "train_list", sums[:2])
    monkeypatch.setattr(kind, "test_list", sums[2:])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / "batches.meta")})
    return tmp_path / "cifar10", pictures


def test_cifar10_with_its_labels(tmp_path, cifar10):
    _, pictures = cifar10
    row = options(source="cifar10", test_source="cifar10", layout="cifar10", test=0, resolution=32)
    manifest = build_dataset("y", row, tmp_path / "y", tmp_path)
    dataset = open_dataset(tmp_path / "y")
    np.testing.assert_array_equal(dataset.train, pictures[:12])
    np.testing.assert_array_equal(dataset.test, pictures[12:])
    assert manifest["labels"]["names"] == ["cat", "dog", "ship"]
    np.testing.assert_array_equal(dataset.labels("test"), [0, 1, 2, 0, 1])
    (tmp_path / "y" / "test_labels.npy").unlink()
    with pytest.raises(BenchError, match=r"test_labels\.npy is missing"):
        dataset.labels("test")


def test_a_changed_cifar10_batch_is_never_unpickled(cifar10):
    folder, _ = cifar10
    with (folder / "cifar-10-batches-py" / "data_batch_2").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BenchError, match="data_batch_2 is missing or not the official file"):
        layouts.open_layout(folder, "cifar10", test=False)


def python2_pickle(batch):
    """As Python 2 wrote the batches that are distributed: the bytes of an array are of its type `str`."""
    data = pickle.dumps(batch, protocol=3)
    for array in (part.tobytes() for part in batch.values() if isinstance(part, np.ndarray)):
        short = len(array) < 256
        new, old, size = (
            (b"U", b"C", bytes([len(array)])) if short else (b"T", b"B", struct.pack("<I", len(array)))
        )
        assert data.count(old + size + array) == 1
        data = data.replace(old + size + array, new + size + array)
    return data


def write_batches(folder, pictures, form):
    folder.mkdir(parents=True)
    flat = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)
    parts = {f"train_data_batch_{i + 1}": slice(i, i + 1) for i in range(10)} | {"val_data": slice(10, 14)}
    for name, part in parts.items():
        batch = {
            "data": flat[part],
            "labels": [1 + i % 2 for i in range(len(flat[part]))],
            "mean": np.zeros(3),
        }
        if form == "npz":
            np.savez(folder / f"{name}.npz", **batch)
        elif form == "python 2":
            (folder / name).write_bytes(python2_pickle(batch))
        else:
            (folder / name).write_bytes(pickle.dumps(batch, protocol=form))


@pytest.mark.parametrize("form", ["npz", "python 2", 2, 4])
def test_downsampled_imagenet(tmp_path, form):
    pictures = images(14)
    write_batches(tmp_path / "x" / "deep", pictures, form)
    row = options(source="x", test_source="x", layout="imagenet-batches", test=0, train=8, expected=10)
    build_dataset("y", row, tmp_path / "y", tmp_path)
    dataset = open_dataset(tmp_path / "y")
    of = {image.tobytes(): i for i, image in enumerate(pictures)}
    rows = [of[image.tobytes()] for image in dataset.train]
    assert len(rows) == 8 and rows == sorted(rows)  # batch 10 comes after batch 9, not after batch 1
    np.testing.assert_array_equal(dataset.test, pictures[10:])
    np.testing.assert_array_equal(dataset.labels("test"), [0, 1, 0, 1])


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_bad_batches(tmp_path, capsys):
    def opened():
        return layouts.open_layout(tmp_path / "x", "imagenet-batches", test=False)

    (tmp_path / "x").mkdir()
    with pytest.raises(BenchError, match="holds no train_data_batch_1"):
        opened()
    write_batches(tmp_path / "x" / "a", images(14), "npz")
    (tmp_path / "x" / "a" / "train_data_batch_4.npz").rename(tmp_path / "hidden")
    with pytest.raises(BenchError, match="must hold each batch once"):
        opened()
    (tmp_path / "hidden").rename(tmp_path / "x" / "a" / "train_data_batch_4")
    with pytest.raises(BenchError, match="is not laid out as imagenet-batches"):
        opened()
    (tmp_path / "x" / "a" / "train_data_batch_4").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(BenchError, match="builtins.print, which is refused"):
        opened()
    assert "run" not in capsys.readouterr().out


@pytest.fixture
def classes(tmp_path):
    """Images in folders of three classes: 12, 6 and 9."""
    for name, count in (("ant", 12), ("bee", 6), ("cow", 9)):
        (tmp_path / "x" / name / "deep").mkdir(parents=True)
        for i, image in enumerate(images(count, seed=len(name) + count)):
            (tmp_path / "x" / name / "deep" / f"{i:02d}.png").write_bytes(encoded(image))
    return tmp_path / "x"


def test_labels_from_folders_and_balanced_subsets(tmp_path, classes):
    build_dataset("y", options(labels="folder"), tmp_path / "y", tmp_path)
    dataset = open_dataset(tmp_path / "y")
    assert dataset.manifest["labels"]["names"] == ["ant", "bee", "cow"]
    labels = dataset.labels("train")
    least = np.bincount(labels).min()
    write_subset(tmp_path / "y", 0, tmp_path / "s0.npz", balanced=True)
    write_subset(tmp_path / "y", 1, tmp_path / "s1.npz", balanced=True)
    for size in range(1, 3 * least + 1):
        rows = read_subset(tmp_path / "s0.npz", dataset, size).train
        counts = np.bincount(labels[rows], minlength=3)
        assert len(set(rows.tolist())) == size and counts.max() - counts.min() <= 1
    with pytest.raises(BenchError, match=f"has {3 * least} training images, fewer than"):
        read_subset(tmp_path / "s0.npz", dataset, 3 * least + 1)
    assert rows.tolist() != read_subset(tmp_path / "s1.npz", dataset, size)[0].tolist()


def test_balance_as_an_option_of_the_row(tmp_path, classes):
    build_dataset("y", options(labels="folder", balanced=True), tmp_path / "y", tmp_path)
    write_subset(tmp_path / "y", 0, tmp_path / "a.npz")
    write_subset(tmp_path / "y", 0, tmp_path / "b.npz", balanced=True)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_labels_from_an_npz(tmp_path):
    """The one array that can be labels is taken; two of them, or none, are one sentence."""
    np.save(tmp_path / "a.npy", images(20))
    row = options(source="a.npy", labels="l.npz")
    np.savez(tmp_path / "l.npz", labels=np.arange(20) % 4, names=np.array(["a", "b", "c", "d"]))
    build_dataset("y", row, tmp_path / "y", tmp_path)
    assert set(open_dataset(tmp_path / "y").labels("train").tolist()) == {0, 1, 2, 3}
    for arrays in ({"a": np.arange(20), "b": np.arange(20)}, {"a": np.arange(20) / 2}, {}):
        np.savez(tmp_path / "l.npz", **arrays)
        with pytest.raises(BenchError, match="labels must be one array of 20 integers"):
            build_dataset("y", row, tmp_path / "y", tmp_path)
    (tmp_path / "l.npz").write_text("0\n1\n")
    with pytest.raises(BenchError, match=r"l\.npz cannot be read"):
        build_dataset("y", row, tmp_path / "y", tmp_path)


def test_labels_from_a_file(tmp_path):
    np.save(tmp_path / "a.npy", images(20))
    np.save(tmp_path / "l.npy", np.arange(20) % 4)
    build_dataset("y", options(source="a.npy", labels="l.npy"), tmp_path / "y", tmp_path)
    dataset = open_dataset(tmp_path / "y")
    of = {image.tobytes(): i % 4 for i, image in enumerate(images(20))}
    for pool in ("train", "test"):
        assert dataset.labels(pool).tolist() == [of[i.tobytes()] for i in getattr(dataset, pool)]
    np.save(tmp_path / "l.npy", np.arange(19))
    with pytest.raises(
        BenchError, match=r"l\.npy holds int64 \(19,\); labels must be one array of 20 integers"
    ):
        build_dataset("y", options(source="a.npy", labels="l.npy"), tmp_path / "y", tmp_path)


def test_labels_that_are_not_there(tmp_path, classes):
    (classes / "alone.png").write_bytes(encoded(images(1, seed=9)[0]))
    with pytest.raises(BenchError, match=r"alone\.png lies in no folder"):
        build_dataset("y", options(labels="folder"), tmp_path / "y", tmp_path)
    (classes / "alone.png").unlink()
    (tmp_path / "t" / "elk").mkdir(parents=True)
    (tmp_path / "t" / "elk" / "a.png").write_bytes(encoded(images(1, seed=9)[0]))
    with pytest.raises(BenchError, match="has the class 'elk'"):
        build_dataset("y", options(labels="folder", test_source="t", test=0), tmp_path / "y", tmp_path)
