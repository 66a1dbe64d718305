"""Heat maps of gradients against linear denoisers whose maps are known, through the closed forms of the planted field."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from denoisers import GRID, SCHEDULE, Denoiser

from bench.cli import main
from bench.data.optima import gaussian_covariance, planted_covariance
from bench.data.procedural import PLANTED
from bench.metrics import sensitivity
from bench.metrics.numerics import sensitivity as numerics
from bench.metrics.sensitivity import SensitivityOptions

SIDE = 16
OPTIONS = SensitivityOptions(images=2, step_indices=[10, 20], pixels=16)


def linear(covariance):
    """The optimal denoiser of a Gaussian field with mean 0.5 and this covariance at peak 1, for images in [-1, 1]."""

    def denoise(y, sigma):
        gains = np.linalg.solve(covariance + (sigma / 2) ** 2 * np.eye(len(covariance)), covariance)
        return y @ torch.from_numpy(gains)

    return Denoiser(denoise)


def run_of(model, family="planted"):
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 1), dtype=np.uint8)
    made = {"family": family, "resolution": SIDE, "parameters": {}}
    return types.SimpleNamespace(
        model=model, schedule=SCHEDULE, device="cpu", image_size=SIDE,
        test_images=lambda n: images[:n], dataset=types.SimpleNamespace(manifest={"made": made}),
    )  # fmt: skip


def measured(model, family="planted"):
    found = sensitivity.measure(run_of(model, family), OPTIONS)
    return {
        (row["metric"].removeprefix("sensitivity_"), row["index"]): row["value"] for row in found.rows
    }, found


def test_the_optimum_is_its_own_map_and_sees_the_far_part_of_the_pattern():
    values, found = measured(linear(planted_covariance(SIDE)))
    for step in OPTIONS.step_indices:
        assert values["planted_cosine", step] == pytest.approx(1, abs=1e-5)
        assert values["optimum_cosine", step] == pytest.approx(1, abs=1e-5)
        assert values["stationary_cosine", step] < 0.9
        assert values["pattern", step] == pytest.approx(values["optimum_pattern", step], rel=1e-4)
        assert values["side_50", step] == pytest.approx(values["optimum_side_50", step], rel=1e-4)
    assert found.arrays["map_10"].sum((1, 2)) == pytest.approx(np.ones(16))


def test_a_denoiser_that_does_not_know_the_pattern_is_told_from_one_that_does():
    values, _ = measured(linear(PLANTED * gaussian_covariance(SIDE)))
    for step in OPTIONS.step_indices:
        assert values["stationary_cosine", step] == pytest.approx(1, abs=1e-5)
        assert values["planted_cosine", step] < 0.9
        assert values["pattern", step] < values["optimum_pattern", step] / 3


def test_a_field_without_a_pattern_has_an_optimum_and_no_pattern():
    values, _ = measured(linear(gaussian_covariance(SIDE)), "gaussian")
    assert values["optimum_cosine", 10] == pytest.approx(1, abs=1e-5)
    assert not any("pattern" in metric or "planted" in metric for metric, _ in values)
    wide, narrow = values["side_95", 20], values["side_95", 10]
    assert wide > narrow > values["side_50", 10]  # more noise: wider


def test_sides_of_known_maps():
    maps, pixels = np.zeros((2, 9, 9)), np.array([[4, 4], [0, 0]])
    maps[0, 4, 4], maps[0, 5, 4], maps[0, 4, 6] = 0.5, 0.1, 0.4  # at the pixel, in the rings of sides 3 and 5
    maps[1, 0, 0] = 1.0
    first, second = (numerics.sides(maps[k : k + 1], pixels[k : k + 1]) for k in (0, 1))
    assert first == pytest.approx({50: 1.0, 75: 3.75, 95: 4.75})
    assert second == pytest.approx({50: 0.5, 75: 0.75, 95: 0.95})
    assert numerics.evenly(16, 16).tolist()[0] == [2, 2] and len(numerics.evenly(16, 16)) == 16


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    body = torch.nn.Conv2d(3, 3, 3, padding=1)
    model = lambda x, t: body(x)  # noqa: E731
    x, pixel, noise = torch.randn(1, 3, 5, 5), np.array([[2, 3]]), 0.6
    found = numerics.heat_maps(model, x, 5, noise, pixel)[0]
    basis = torch.eye(75).view(75, 3, 5, 5)
    with torch.no_grad():
        moved = [(z - noise * body(z))[0, :, 2, 3].sum() for z in (x + basis).split(1)]
        before = (x - noise * body(x))[0, :, 2, 3].sum()
    slope = (torch.stack(moved) - before).abs().view(3, 5, 5).sum(0)
    np.testing.assert_allclose(found, (slope / slope.sum()).numpy(), atol=1e-5)
    assert GRID.timesteps[10] > 0


def test_vectors_are_refused(tmp_path, monkeypatch, capsys):
    from test_clocks import ROOT, shutil

    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config/suites/tiny.yaml").write_text(
        "title: Vectors\nmeasure: {sensitivity: {}}\nruns:\n"
        "  - {datasets: [mixture-8], models: [mlp-8], train_sizes: [16]}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--suite", "tiny"]) == 1
    assert "sensitivity is of images; mixture-8 has vectors, leave it out" in capsys.readouterr().err
