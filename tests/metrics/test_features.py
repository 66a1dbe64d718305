"""Feature spaces and the distances in them, against clean-fid and its stored numbers."""

from __future__ import annotations

import json
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.build import build_dataset
from bench.data.dataset import content_hash, open_dataset
from bench.data.options import DatasetOptions
from bench.jobs import references
from bench.jobs.references import open_reference
from bench.metrics import frechet
from bench.metrics.declare import Reference, Result
from bench.metrics.frechet import FrechetOptions
from bench.metrics.numerics import classifier, distances, features, statistics
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import sha256
from bench.support.torchvision_import import ensure_torchvision

OPTIONS = FrechetOptions(features="random-conv", kernel_subsets=10)


def pool(count, seed, side=8, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def moments(x):
    return x.mean(0), np.cov(x, rowvar=False)


@pytest.fixture(scope="module")
def official(fixtures):
    return np.load(fixtures / "parity" / "frechet.npz", allow_pickle=False)


def test_frechet_equals_clean_fids_stored_numbers(official):
    first, second = official["features_1"], official["features_2"]
    value = distances.frechet_distance(*moments(first), *moments(second))
    assert value == pytest.approx(float(official["frechet_distance"]), rel=1e-9)
    few = distances.frechet_distance(*moments(first[:20]), *moments(second))
    assert few == pytest.approx(float(official["frechet_distance_few"]), rel=1e-6)


def unbiased(x, y):
    """The unbiased squared MMD of two sets of n points with the cubic kernel."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    n = len(x)
    within = sum(kernel(a, a).sum() - np.trace(kernel(a, a)) for a in (x, y)) / (n * (n - 1))
    return within - 2 * kernel(x, y).mean()


def test_kernel_distance_equals_clean_fids_stored_number_for_its_subsets(official):
    first, second = official["features_1"], official["features_2"]
    chosen = zip(official["kernel_distance_small_indices_1"], official["kernel_distance_small_indices_2"])
    by_hand = [unbiased(first[one], second[two]) for one, two in chosen]
    assert np.mean(by_hand) == pytest.approx(float(official["kernel_distance_small"]), rel=1e-9)


def test_frechet_and_kernel_distance_equal_the_installed_clean_fid():
    ensure_torchvision()
    from cleanfid import fid

    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((200, 8)), rng.standard_normal((300, 8)) @ rng.standard_normal((8, 8))
    given = (*moments(first), *moments(second))
    assert distances.frechet_distance(*given) == pytest.approx(float(fid.frechet_distance(*given)), rel=1e-8)
    assert distances.frechet_distance(*moments(first), *moments(first)) == pytest.approx(0, abs=1e-9)
    np.random.seed(0)
    theirs = fid.kernel_distance(first, second, num_subsets=7, max_subset_size=50)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    assert distances.kernel_distance(first, second, 7, 50) == theirs
    assert np.array_equal(before, np.random.get_state()[1])  # the global generator is as it was


def test_rank_deficient_sets_have_the_distance_of_their_few_dimensions():
    """Ten points span nine dimensions of 40: the distance to a set in the same plane is that of its coordinates."""
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((40, 9)))[0]
    first, second = rng.standard_normal((10, 9)), 2 * rng.standard_normal((500, 9)) + 1
    low = distances.frechet_distance(*moments(first), *moments(second))
    high = distances.frechet_distance(*moments(first @ basis.T), *moments(second @ basis.T))
    assert high == pytest.approx(low, rel=1e-6)


def test_gaussians_have_their_closed_form():
    scale = np.array([1.0, 2.0, 3.0])
    value = distances.frechet_distance(np.zeros(3), np.diag(scale**2), np.ones(3), np.eye(3))
    assert value == pytest.approx(3 + ((scale - 1) ** 2).sum(), rel=1e-12)


def test_random_features_and_pixels_are_fixed_and_see_differences():
    for name, size in (("random-conv", 64), ("pixels", 64)):
        space = features.open_space(name, 1, "cpu")
        first = features.features(pool(4, 0), space)
        assert first.shape == (4, size) and np.array_equal(first, features.features(pool(4, 0), space))
        assert np.abs(first - features.features(pool(4, 1), space)).max() > 1e-3
    with pytest.raises(BenchError, match="no feature space 'random'; known: random-conv, pixels"):
        features.open_space("random", 1, "cpu")


def test_missing_or_wrong_inception_weights_are_named(tmp_path, monkeypatch):
    file = tmp_path / features.INCEPTION
    for given in (file, tmp_path):  # the file, or its folder
        monkeypatch.setenv("BENCH_INCEPTION", str(given))
        there, words = features.inception_state()
        assert not there and "weights are missing" in words and "https://" in words and str(file) in words
    file.write_bytes(b"not it")
    with pytest.raises(BenchError, match="sha256 must begin f58cb9b6ec323ed6"):
        features.inception_weights()
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(file))
    assert features.inception_state() == (True, f"The Inception weights are here: {file}.")


class Layers(torch.nn.Module):
    """Stands in for Inception's layers: 2048 numbers that depend on every pixel."""

    def forward(self, x: torch.Tensor):
        rows = x.mean(dim=3).flatten(1)
        return torch.cat([rows, rows.sin(), rows.abs()], 1)[:, :2048]


class StandIn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor):
        return self.layers(x)


def test_inception_features_are_those_of_clean_fids_own_door(tmp_path, monkeypatch):
    """With a stand-in for the weights: resize, scaling and order equal clean-fid's on a folder of pictures."""
    file = tmp_path / features.INCEPTION
    torch.jit.script(StandIn()).save(str(file))
    monkeypatch.setenv("BENCH_INCEPTION", str(file))
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(file))
    images = pool(3, 0, channels=3)
    ours = features.features(images, features.open_space("inception", 3, "cpu"))
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    network = InceptionV3W(str(tmp_path), download=False)
    theirs = fid.get_folder_features(
        str(tmp_path), network, num_workers=0, device=torch.device("cpu"), mode="clean", verbose=False
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    grey = features.features(images[..., :1], features.open_space("inception", 1, "cpu"))
    repeated = features.features(np.repeat(images[..., :1], 3, 3), features.open_space("inception", 3, "cpu"))
    assert np.array_equal(grey, repeated)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a dataset of dark and bright pictures, labelled."""
    monkeypatch.chdir(tmp_path)
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=60, test=20)
    folder = paths.dataset_folder("toy")
    build_dataset("toy", row, folder)
    dataset = open_dataset(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["labels"] = {}
    for name in ("train", "test"):
        bright = (getattr(dataset, name).mean((1, 2, 3)) > 127).astype(np.uint8)
        np.save(folder / f"{name}_labels.npy", bright)
        manifest["labels"][f"{name}_sha256"] = content_hash(bright)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def measure(samples, options=OPTIONS):
    run = types.SimpleNamespace(device="cpu", channels=1)
    drawn = Result(arrays={"samples": samples, "protocol": np.array("samples=12")})
    given = {ref.kind: open_reference(ref, "cpu") for ref in frechet.MEASUREMENT.references(options, "toy")}
    return frechet.measure(run, options, drawn, **given).rows


def test_distances_say_their_protocol_and_are_small_for_images_of_the_pool(place):
    train = open_dataset(place).train
    near, far = measure(train[:12]), measure(pool(12, 0))
    assert [r["metric"] for r in near] == ["frechet", "kernel_distance"]
    assert all(a["value"] < b["value"] / 5 for a, b in zip(near, far))
    said = "features=random-conv-64;samples=12;reference=train:60"
    assert near[0]["protocol"] == said
    assert near[1]["protocol"] == said + ";kept=60;subsets=10x12"
    few = measure(train[:12], replace(OPTIONS, pool="test", reference=10))
    assert few[0]["protocol"].endswith("reference=test:10")


def test_a_reference_is_made_once_and_again_where_it_is_out_of_date(place, monkeypatch):
    made = []
    monkeypatch.setattr(statistics, "make", lambda *given: made.append(given) or {"count": np.array(3)})
    reference = Reference("toy", "random-conv.train.all")

    def opened():
        assert open_reference(reference, "cpu") == {"count": 3}
        return len(made)

    assert opened() == 1 and opened() == 1
    paths.reference_file(*reference).write_bytes(b"PK broken")
    assert opened() == 2
    monkeypatch.setattr(references, "reference_code", lambda reference: "changed")
    assert opened() == 3 and opened() == 3


def test_names_of_references_are_checked(place):
    for name, words in (
        ("winer", "no reference 'winer'; give wiener, classifier or SPACE.POOL.COUNT"),
        ("random-conv.trian.all", "names no statistics; say SPACE.train.all"),
        ("random-conv.train.99", "toy has 60 train images, fewer than 99"),
        ("random.train.all", "no feature space 'random'"),
    ):
        with pytest.raises(BenchError, match=words):
            open_reference(Reference("toy", name), "cpu")


def test_a_classifier_is_a_space_of_its_own(place, monkeypatch):
    reference = Reference("toy", "classifier")
    first = classifier.make(open_dataset(place), "classifier", "cpu", steps=60)
    again = classifier.make(open_dataset(place), "classifier", "cpu", steps=60)
    assert all(np.array_equal(first[key], again[key]) for key in first)  # the same bits
    dataset = open_dataset(place)
    extract = classifier.load(first, 1, "cpu")
    model = classifier.Classifier(1, 2)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in first.items()})
    assert classifier.accuracy(model, dataset.test, classifier.read_labels(dataset, "test"), "cpu") >= 0.9
    assert extract(dataset.test[:3]).shape == (3, 128)
    with pytest.raises(BenchError, match="trained on images with 1 channels, these have 3"):
        classifier.load(first, 3, "cpu")
    monkeypatch.setattr(classifier, "make", lambda *given: first)
    found = measure(dataset.train[:12], replace(OPTIONS, features="classifier", classifier="toy"))
    assert found[0]["metric"] == "frechet" and found[0]["protocol"].startswith("features=classifier-toy;")
    statistics_file = paths.reference_file("toy", "classifier-toy.train.all")
    before = statistics_file.read_bytes()
    other = {key: value + 0.1 for key, value in first.items()}
    paths.reference_file(*reference).unlink()
    monkeypatch.setattr(classifier, "make", lambda *given: other)
    measure(dataset.train[:12], replace(OPTIONS, features="classifier", classifier="toy"))
    assert statistics_file.read_bytes() != before, "other weights: the statistics were those of the old ones"


def test_a_dataset_without_labels_trains_no_classifier(place):
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["labels"] = None
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BenchError, match="toy has no classes as labels"):
        open_reference(Reference("toy", "classifier"), "cpu")
