"""Networks against closed forms: a known patch is found again, a control agrees with itself, and what is refused."""

from __future__ import annotations

import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from denoisers import SCHEDULE

from bench.data.options import DatasetOptions
from bench.data.procedural import draw, round_to_uint8
from bench.metrics import agreement, patch_size, slope
from bench.metrics.declare import Result
from bench.metrics.numerics.machines import LOCAL, agreement_by_step, alike, follow, starts
from bench.models.controls import Memoriser
from bench.models.local_score import PatchScore
from bench.suite import plan
from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
STEPS, SIZES = 10, [3, 5, 7]


@pytest.fixture(scope="module")
def images():
    row = DatasetOptions(title="Contours", resolution=8, channels=1, family="contours", train=12, test=1)
    return round_to_uint8(draw(row, 0, 12))


def run_of(model, images):
    model.fit(images, SCHEDULE)
    return types.SimpleNamespace(
        model=model, device="cpu", schedule=SCHEDULE, image_size=8, channels=1,
        train_images=lambda: images, spec=types.SimpleNamespace(name="toy"),
    )  # fmt: skip


def calibrated(run, *machines):
    options = patch_size.PatchSizeOptions(machines=list(machines), sizes=SIZES, noises=4, steps=STEPS)
    return patch_size.measure(run, options)


def agreed(run, sizes, *machines):
    options = agreement.AgreementOptions(machines=list(machines), noises=4, steps=STEPS)
    return agreement.measure(run, options, patch_size=sizes)


def values(found, metric, machine):
    own = [r for r in found.rows if r["metric"] == metric and r["split"] == machine]
    return np.array([r["value"] for r in own])


@pytest.mark.parametrize("name", LOCAL)
def test_the_patch_of_a_control_is_found_again(name, images):
    run = run_of(PatchScore(8, 1, [5], LOCAL[name], "centre"), images)
    cosines = calibrated(run, name).arrays[f"cosines_{name}"]
    assert np.allclose(cosines[:, SIZES.index(5)], 1, atol=1e-12)
    told_apart = [k for k in range(STEPS) if np.delete(cosines[k], SIZES.index(5), axis=0).max() < 1 - 1e-9]
    found = values(calibrated(run, name), "patch_size", name)
    assert len(told_apart) > STEPS // 2 and (found[told_apart] == 5).all()


@pytest.mark.parametrize("name", LOCAL)
def test_a_control_agrees_with_itself(name, images):
    run = run_of(PatchScore(8, 1, [3, 7], LOCAL[name], "centre"), images)
    found = agreed(run, calibrated(run, name), name, "ideal")
    for metric, wanted in (("correlation", 1), ("r2", 1), ("mse", 0)):
        assert np.allclose(values(found, f"agreement_{metric}", name), wanted, atol=1e-6)
        assert np.allclose(values(found, f"agreement_sample_{metric}", name), wanted, atol=1e-4)
    assert values(found, "agreement_beats_ideal", name) == 1
    assert values(found, "agreement_sample_correlation", "ideal") < 0.999
    assert found.arrays["samples_network"].dtype == np.uint8


def test_the_memoriser_is_the_ideal_machine(images):
    run = run_of(Memoriser(8, 1), images)
    found = agreed(run, Result(arrays={"sigma": np.ones(STEPS)}), "linear", "ideal")
    assert np.allclose(values(found, "agreement_correlation", "ideal"), 1)
    assert values(found, "agreement_sample_correlation", "linear") < 1
    assert values(found, "agreement_beats_ideal", "linear") == 0


def test_correlation_r2_and_error_are_their_definitions():
    a, b = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    found = alike(a, b)
    for k, (x, y) in enumerate(zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True)):
        assert found["correlation"][k] == pytest.approx(np.corrcoef(x, y)[0, 1])
        assert found["r2"][k] == pytest.approx(1 - ((x - y) ** 2).mean() / x.var())
        assert found["mse"][k] == pytest.approx(((x - y) ** 2).mean())
    shifted = alike(a, 2 * a + 1)  # a correlation does not see scale and brightness; R2 does
    assert np.allclose(shifted["correlation"], 1) and (shifted["r2"] < 0).all()


def test_the_noises_depend_on_their_place_alone(images):
    run = run_of(Memoriser(8, 1), images)
    assert torch.equal(starts(run, 2), starts(run, 5)[:2])


def test_a_control_that_is_not_fitted_and_another_trajectory_are_refused(images):
    run = run_of(Memoriser(8, 1), images)
    grid = SCHEDULE.respace(STEPS)
    path = follow(run.model, grid, starts(run, 2))
    with pytest.raises(BenchError, match="must be fitted before it is used"):
        agreement_by_step(PatchScore(8, 1, [3], "place", "centre"), grid, path)
    with pytest.raises(BenchError, match="give trajectories of one sampler and grid"):
        alike(path.x, follow(run.model, SCHEDULE.respace(3), starts(run, 2)).x)


@pytest.mark.parametrize(
    ("measure", "dataset", "words"),
    [
        ("{agreement: {}}", "disks-8", "agreement needs patch_size; add it under `measure`"),
        ("{patch_size: {steps: 20}, agreement: {}}", "disks-8", "both follow one trajectory; give them the same number"),
        ("{patch_size: {machines: [local]}, agreement: {}}", "disks-8", "asks for the machine equivariant, whose patches"),
        ("{patch_size: {}, agreement: {}}", "disks-8", "agreement needs training.flip: false"),
        ("{patch_size: {}}", "mixture-8", "mixture-8 holds vectors; leave patch_size out"),
        ("{patch_size: {sizes: [3, 4]}}", "disks-8", r"sizes must be odd and positive, not \[3, 4\]"),
        ("{psnr: {images: 64}, slope: {}}", "disks-8", "images of a known smoothness alpha, and disks-8 has none"),
        ("{slope: {}}", "contours-8", "slope needs psnr; add it under `measure`"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_sentence(measure, dataset, words, tmp_path, monkeypatch):
    model = "memoriser" if dataset == "mixture-8" else "nf-unet-t16"
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config" / "suites" / "bad.yaml").write_text(
        f"title: Bad\nmeasure: {measure}\nruns:\n"
        f"  - {{datasets: [{dataset}], models: [{model}], train_sizes: [10]}}\n"
    )
    with pytest.raises(BenchError, match=words):
        plan.load("bad")


def test_slopes_are_fitted_between_the_levels_that_are_named():
    sigma = np.geomspace(0.01, 10, 40)
    noisy = 10 * np.log10(4 / sigma**2)
    psnr = np.where(noisy < 30, 12 + 0.6 * noisy, 0)
    assert slope.fit(sigma, psnr, [5, 30]) == pytest.approx(0.6)
    assert np.isnan(slope.fit(sigma, psnr, [5, 5.1]))
    made = {"made": {"parameters": {}}}  # alpha is the family's own, 2
    run = types.SimpleNamespace(dataset=types.SimpleNamespace(manifest=made))
    rows = slope.measure(run, slope.SlopeOptions(), Result(arrays={"sigma": sigma, "test": psnr[None]})).rows
    assert [row["value"] for row in rows] == pytest.approx([0.6, 2 / 3])
    with pytest.raises(BenchError, match="holds fewer than two step indices; raise psnr.steps"):
        slope.measure(
            run, slope.SlopeOptions(between=[5, 5.1]), Result(arrays={"sigma": sigma, "test": psnr[None]})
        )
