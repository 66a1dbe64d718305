"""The real images beside the repository: the rows' hashes, reproduced through the same import path as any other."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import duplicates
from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.suite.config import load_datasets

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def real(fixtures) -> Path:
    """The folder of real images; the test is skipped where it is absent."""
    folder = fixtures.parent / "data"
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no real images in {folder}")
    return folder


def manifest(real, file):
    return json.loads((real / "manifest.json").read_text())["files"][file]


def mosaic(real, file):
    """Return the images of a mosaic of tiles, (n, 32, 32, 3)."""
    rows, columns = manifest(real, file)["grid"]
    pixels = np.asarray(Image.open(real / file).convert("RGB"))
    tiles = pixels.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles.reshape(-1, 32, 32, 3))


def jpegs(real, split, count, path):
    """Write the first JPEG files of a split into a zip, as they are."""
    stored = np.load(real / "imagenet32_jpeg.npz")
    head, scan = stored["jpeg_header"].tobytes(), stored[f"{split}_scan"].tobytes()
    ends = np.cumsum(stored[f"{split}_lengths"], dtype=np.int64)[:count]
    with zipfile.ZipFile(path, "w") as archive:
        for i, (start, end) in enumerate(zip([0, *ends], ends)):
            archive.writestr(f"{i:06d}.jpg", head + scan[start:end])


@pytest.fixture(autouse=True)
def no_pixel_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # a mosaic is one picture


def build(tmp_path, name, **more):
    row = replace(load_datasets()[name], **more)
    return build_dataset(name, row, tmp_path / name, tmp_path, workers=2)


def test_celeba_as_a_folder_of_files(tmp_path, real):
    images = mosaic(real, "celeba10k_32.webp")
    (tmp_path / "celeba-32").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "celeba-32" / f"{i + 1:06d}.png", compress_level=1)
    made = build(tmp_path, "celeba-32")
    known = manifest(real, "celeba10k_32.webp")
    assert made["sources"]["source"]["content_sha256"] == known["decoded_sha256"]
    assert made["sha256"] == load_datasets()["celeba-32"].sha256
    pairs = [[j, i] for i, j, _ in duplicates.near(images, images) if j < i]
    assert sorted(pairs) == known["near_duplicate_pairs"]
    assert build(tmp_path, "celeba-16")["sha256"] == load_datasets()["celeba-16"].sha256


def test_cifar10_and_scenes_as_arrays(tmp_path, real):
    files = {
        "cifar10-train.npy": "cifar10_train20k_32.webp",
        "cifar10-test.npy": "cifar10_test4k_32.webp",
        "scenes.npy": "scenes16k_32.webp",
    }
    for array, file in files.items():
        np.save(tmp_path / array, mosaic(real, file))
    for name in ("cifar10-32", "scenes-32"):
        made, row = build(tmp_path, name), load_datasets()[name]
        assert made["sha256"] == row.sha256
        for key, source in made["sources"].items():
            known = manifest(real, files[getattr(row, key)])["decoded_sha256"]
            assert source["content_sha256"] == known == row.content_sha256[key]


def test_labels_of_cifar10(tmp_path, real):
    labels = np.load(real / "cifar10_meta.npz")["test_labels"]
    np.save(tmp_path / "l.npy", labels)
    images = mosaic(real, "cifar10_test4k_32.webp")
    np.save(tmp_path / "cifar10-test.npy", images)
    build(
        tmp_path,
        "cifar10-32",
        source="cifar10-test.npy",
        labels="l.npy",
        test_source=None,
        test=500,
        expected=4000,
        test_expected=None,
        content_sha256={},
        sha256=None,
    )
    dataset = open_dataset(tmp_path / "cifar10-32")
    of = {image.tobytes(): label for image, label in zip(images, labels)}
    assert dataset.labels("test").tolist() == [of[image.tobytes()] for image in dataset.test]


def test_imagenet_as_a_zip_of_jpegs(tmp_path, real):
    jpegs(real, "train", 100_000, tmp_path / "imagenet32_train.zip")
    jpegs(real, "val", 10_000, tmp_path / "imagenet32_val.zip")
    made, row = build(tmp_path, "imagenet-32"), load_datasets()["imagenet-32"]
    known = manifest(real, "imagenet32_jpeg.npz")["splits"]
    assert made["sources"]["source"]["content_sha256"] == known["train"]["decoded_sha256"]
    assert made["sources"]["test_source"]["content_sha256"] == known["val"]["decoded_sha256"]
    assert made["sha256"] == row.sha256
