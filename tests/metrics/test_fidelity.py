"""Precision, recall, density, coverage and the unbiased Fréchet distance: by their definitions, and taken of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.metrics.declare import Result
from bench.metrics.fidelity import FidelityOptions, compare, frechet_curve, measure
from bench.metrics.numerics.manifold import manifold
from bench.metrics.numerics.placed import open_placed
from bench.metrics.numerics.sampling import draw_samples
from bench.metrics.samples import SamplesOptions
from bench.support.errors import BenchError
from bench.support.files import sha256


def brute(real: np.ndarray, drawn: np.ndarray, k: int) -> list[float]:
    """The four numbers as the two papers define them, pair by pair."""

    def radius(points: np.ndarray, i: int) -> float:
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]

    real_radius = [radius(real, i) for i in range(len(real))]
    drawn_radius = [radius(drawn, j) for j in range(len(drawn))]
    d = [[np.linalg.norm(x - y) for y in drawn] for x in real]
    n, m = range(len(real)), range(len(drawn))
    precision = np.mean([any(d[i][j] < real_radius[i] for i in n) for j in m])
    recall = np.mean([any(d[i][j] < drawn_radius[j] for j in m) for i in n])
    density = sum(d[i][j] < real_radius[i] for i in n for j in m) / (k * len(drawn))
    coverage = np.mean([any(d[i][j] < real_radius[i] for j in m) for i in n])
    return [precision, recall, density, coverage]


@pytest.mark.parametrize("k", [1, 3])
def test_balls_by_their_definition(k):
    draws = np.random.default_rng(k)
    real, drawn = draws.normal(size=(600, 2)), 0.4 * draws.normal(size=(350, 2)) + 0.3
    found = manifold(real, drawn, k)
    assert list(found) == pytest.approx(brute(real, drawn, k), abs=1e-12)
    assert found.precision > found.recall  # narrow samples: like images, but not all of them


def test_a_set_against_itself_and_far_away():
    points = np.random.default_rng(0).normal(size=(300, 4))
    assert list(manifold(points, points.copy(), 5)) == pytest.approx([1, 1, 1, 1], abs=0.01)
    assert list(manifold(points, points + 100, 5)) == [0, 0, 0, 0]


def test_the_limit_of_the_distance_has_less_bias():
    """Two sets of one Gaussian: the distance of n samples grows with 1 / n, its limit is near 0."""
    draws = np.random.default_rng(1)
    real, drawn = draws.normal(size=(40_000, 12)), draws.normal(size=(600, 12))
    curve = frechet_curve(real, drawn)
    values = list(curve.values())
    assert min(curve) == 300 and max(curve) == 600 and values[0] > 1.5 * values[-1]
    found = compare(real[:2000], drawn, 5)
    exact = compare(real, drawn, 5)["fd_infinity"]
    assert abs(exact) < 0.35 * values[-1] and found["fidelity_frechet"] > 0


class Noise(torch.nn.Module):
    """Predicts what makes samples of unequal brightness."""

    def forward(self, x, t, y=None):
        return 0.9 * x


class FakeRun:
    def __init__(self, folder: Path) -> None:
        from bench.data.dataset import open_dataset
        from bench.diffusion.schedule import make_schedule

        row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=90, test=20)
        build_dataset("d", row, folder / "d")
        self.dataset, self.schedule, self.model = open_dataset(folder / "d"), make_schedule("linear"), Noise()
        self.image_size, self.channels, self.device = 8, 1, "cpu"
        self.spec = type("Spec", (), {"name": "run"})


SAMPLES = SamplesOptions(70, "ddim", steps=3)


@pytest.fixture
def run(tmp_path):
    return FakeRun(tmp_path)


@pytest.fixture
def samples(run):
    return Result(arrays={"samples": draw_samples(run, SAMPLES), "protocol": np.array(SAMPLES.protocol)})


def test_of_a_run_with_its_spread_over_sample_seeds(run, samples):
    options = FidelityOptions("random-conv", reference=60, seeds=3)
    rows = measure(run, options, samples).rows
    protocol = "features=random-conv-64;weights=ema;samples=70;sampler=ddim;steps=3;reference=train:60"
    assert all(row["protocol"].startswith(protocol) for row in rows)
    by_seed = [row["value"] for row in rows if row["metric"] == "fidelity_frechet"]
    (spread,) = [row["value"] for row in rows if row["metric"] == "fidelity_spread"]
    assert len(set(by_seed)) == 3 and spread == pytest.approx(np.std(by_seed, ddof=1))
    once = measure(run, FidelityOptions("random-conv", reference=60), samples).rows
    assert [r["value"] for r in once] == [r["value"] for r in rows if r["index"] == 0]
    assert [r["metric"] for r in once].count("fidelity_spread") == 0


class Mean(torch.nn.Module):
    """A network of a person's: the mean of each colour, and of each half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x[:, :, :100].mean((2, 3))], 1)


def test_a_placed_network_is_held_to_its_hash(run, samples, tmp_path, monkeypatch):
    file = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(Mean()), str(file))
    monkeypatch.setenv("BENCH_SSCD", str(file))
    options = FidelityOptions("sscd", sha256(file))
    rows = measure(run, options, samples).rows
    assert rows[0]["protocol"].startswith(f"features=sscd-{sha256(file)[:8]};")
    space = open_placed("sscd", sha256(file), "cpu")
    grey = space.extract(np.full((1, 8, 8, 1), 255, np.uint8))[0]
    assert grey[0] == pytest.approx((1 - 0.485) / 0.229, rel=1e-5) and len(grey) == 6


def placed(monkeypatch, value) -> None:
    monkeypatch.setenv("BENCH_DINOV2", str(value))


def test_a_missing_wrong_or_broken_file_is_one_sentence(tmp_path, monkeypatch):
    placed(monkeypatch, tmp_path / "none.pt")
    with pytest.raises(BenchError, match="set BENCH_DINOV2 to its path"):
        open_placed("dinov2", "0" * 64, "cpu")
    file = tmp_path / "net.pt"
    file.write_bytes(b"no network")
    placed(monkeypatch, file)
    with pytest.raises(BenchError, match=f"its sha256 is {sha256(file)}, not 0000"):
        open_placed("dinov2", "0" * 64, "cpu")
    with pytest.raises(BenchError, match="is no TorchScript file"):
        open_placed("dinov2", sha256(file), "cpu")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": "dinov2"}, "go with the sha256"),
        ({"features": "pixels", "sha256": "0" * 64}, "go with the sha256"),
        ({"features": "sscd", "sha256": "ABC"}, "64 hex digits"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
    ],
)
def test_options(given, message):
    with pytest.raises(ValueError, match=message):
        FidelityOptions(**given)
