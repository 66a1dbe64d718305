"""A trained run through the command line: all metrics in one process, one of them again, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.cli import main
from bench.jobs import run as runs
from bench.metrics import jacobian
from bench.metrics.declare import LeftOut
from bench.metrics.numerics import cosines
from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
RUN = "disks-8.unet-t16.n10.s0"
SUITE = """
title: One tiny run and its other half
training: {steps: 6, batch: 4, ema: 0.5, keep_raw: true}
measure:
  psnr: {images: 4, steps: 3}
  jacobian: {step_indices: [1], steps: 3, vectors: [0, 7]}
  samples: {count: 8, sampler: ddim, steps: 3, weights: raw}
  frechet: {features: random-conv, pool: test, reference: 30}
  memorization: {features: random-conv}
  halves: {images: 5, steps: 3, samples: 6, sampling_steps: 3}
runs:
  - {datasets: [disks-8], models: [unet-t16], train_sizes: [10]}
  - {datasets: [disks-8], models: [unet-t16], train_sizes: [10], half: b, measure: [halves]}
"""


class Twice(torch.nn.Module):
    """A network that returns each channel twice."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def load_state_dict(self, state):
        return self.inner.load_state_dict(state)

    def forward(self, x, t, y=None):
        return self.inner(x, t, y).repeat(1, 2, 1, 1)


def bench(*words):
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained run of a tiny suite; the current folder while the tests run."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config" / "suites" / "tiny.yaml").write_text(SUITE)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CONFIG", str(folder / "config"))
        os.chdir(folder)
        bench("data", "build", "disks-8", "--workers", 1)
        bench(
            "data",
            "subset",
            "results/datasets/disks-8",
            "--shuffle",
            0,
            "--out",
            "results/subsets/disks-8/s0.npz",
        )
        for half in (RUN, f"{RUN}.half-b"):
            bench("train", half, "--suite", "tiny")
        yield folder / "results" / "tiny" / "runs" / RUN
        os.chdir(before)


def measure(metric, run=RUN, expected=0):
    assert main(["measure", metric, run, "--suite", "tiny", "--device", "cpu"]) == expected


def rows(place, metric):
    table = pd.read_csv(place / "measurements.csv")
    return table[table["metric"] == metric]


def test_one_process_measures_a_run_and_takes_again_what_is_out_of_date(place, monkeypatch, capsys):
    loads = []
    real = runs.load_file
    monkeypatch.setattr(runs, "load_file", lambda path: loads.append(Path(path).name) or real(path))
    measure("psnr")
    assert not (place / "measurements.csv").exists()
    assert "not measured yet: cost, samples, frechet, jacobian, memorization" in capsys.readouterr().err
    measure("all")
    assert sorted(loads) == [
        "raw.safetensors",
        *["weights.safetensors"] * 2,
    ]  # samples are of the raw weights
    written = (place / "measurements.csv").read_bytes()
    assert sorted(file.stem for file in (place / "arrays").iterdir()) == [
        "jacobian", "memorization", "psnr", "samples"
    ]  # fmt: skip
    assert (rows(place, "peak_memory")["value"] > 50).all() and (
        rows(place, "images_per_second")["value"] > 0
    ).all()
    assert rows(place, "peak_memory")["protocol"].item().endswith("memory=process;batch=4")
    said = "weights=raw;samples=8;sampler=ddim;steps=3;reference=test:30"
    assert said in rows(place, "frechet")["protocol"].item()
    loads.clear()
    measure("all")
    assert not loads, "nothing was out of date"
    for name in ("measurements.csv", "measurements.json"):  # as Snakemake deletes outputs before a job
        (place / name).unlink()
    shutil.rmtree(place / "arrays")
    capsys.readouterr()
    path = Path("config/suites/tiny.yaml")
    text = path.read_text()
    path.write_text(text.replace("psnr: {images: 4", "psnr: {images: 5"))
    measure("all")
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith(RUN)] == [f"{RUN}: psnr"]
    path.write_text(text)
    measure("psnr")
    assert (place / "measurements.csv").read_bytes() == written, "the same bits again, in the same order"


def test_what_another_measurement_reads_is_taken_first_and_damage_is_noticed(place, capsys):
    state = next(Path(".runs/tiny", RUN).glob("*/measured"))
    (state / "samples" / "record.json").write_text("{broken")
    (state / "psnr" / "record.json").unlink()
    capsys.readouterr()
    measure("memorization")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(RUN)]
    assert [line.split(": ")[1].split()[0] for line in said[:2]] == ["samples", "memorization"]
    assert "not measured yet: psnr" in said[-1]
    measure("all")


def test_a_run_of_another_recipe_is_refused(place, capsys):
    path = Path("config/suites/tiny.yaml")
    text = path.read_text()
    path.write_text(text.replace("batch: 4", "batch: 5"))
    measure("all", expected=1)
    assert (
        "was trained with other options than suite 'tiny' has now; train it again" in capsys.readouterr().err
    )
    path.write_text(text)


def test_more_samples_begin_with_the_same_and_raw_differs_from_averaged(place):
    stem = place / "a"
    for count in (3, 70):
        bench(
            "sample",
            RUN,
            "--suite",
            "tiny",
            "--count",
            count,
            "--steps",
            3,
            "--device",
            "cpu",
            "--out",
            f"{stem}{count}",
        )
    few, many = (np.load(f"{stem}{count}.npz")["samples"] for count in (3, 70))
    assert len(many) == 70 and np.array_equal(few, many[:3])
    drawn = np.load(place / "arrays" / "samples.npz")["samples"]
    assert not np.array_equal(drawn[:3], few)


def test_more_images_than_the_test_pool_holds_and_a_damaged_network_are_refused(place, monkeypatch):
    run = runs.Run(place)
    with pytest.raises(
        BenchError, match="disks-8 has [0-9]+ test images, fewer than the 999999 asked for; lower"
    ):
        run.test_images(999999)
    real = runs.build
    monkeypatch.setattr(runs, "build", lambda *given: Twice(real(*given)))
    with pytest.raises(
        BenchError, match=r"returns \(1, 2, 8, 8\) for images \(1, 1, 8, 8\); a noise prediction"
    ):
        runs.Run(place).model  # noqa: B018
    monkeypatch.undo()
    state = runs.load_file(place / "weights.safetensors")
    name = next(iter(state))
    state[name] = state[name] * float("nan")
    monkeypatch.setattr(runs, "load_file", lambda path: state)
    with pytest.raises(BenchError, match=f"weights.safetensors holds values that are not finite in '{name}'"):
        runs.Run(place).model  # noqa: B018


def test_two_halves_are_compared_and_equal_networks_agree(place):
    other = place.parent / f"{RUN}.half-b"
    measure("all", other.name)
    table = pd.read_csv(other / "measurements.csv")
    table = table[table["metric"].str.startswith("halves")]
    assert set(table["recipe"]) == {"half-b"}
    assert all(table["protocol"].str.startswith(f"partner={RUN};"))
    found = table.groupby("metric")["value"].agg(["count", "mean"])
    assert found["count"].to_dict() == {
        "halves_eps_cosine": 3, "halves_sample_cosine": 1, "halves_training_cosine": 1, "halves_x0_cosine": 3
    }  # fmt: skip
    assert found["mean"]["halves_eps_cosine"] < 0.999
    with np.load(other / "arrays" / "halves.npz") as arrays:
        assert arrays["eps_cosine"].shape == (5, 3) and arrays["samples_b"].shape == (6, 8, 8, 1)
    saved = (other / "weights.safetensors").read_bytes()
    shutil.copy(place / "weights.safetensors", other)
    measure("all", other.name)  # other weights: measured again
    table = pd.read_csv(other / "measurements.csv").set_index("metric")["value"]
    table = table[table.index.str.contains("halves.*(?:eps|x0|sample)_cosine")]
    np.testing.assert_allclose(table, 1, atol=1e-6)
    (other / "weights.safetensors").write_bytes(saved)


def test_halves_that_do_not_belong_together_are_refused(place, capsys):
    measure("halves", expected=1)
    assert f"does not measure halves of {RUN}" in capsys.readouterr().err
    path = Path("config/suites/tiny.yaml")
    text = path.read_text()
    path.write_text(text.replace("half: b,", "half: b, shuffles: [1],"))
    assert main(["plan", "--suite", "tiny"]) == 1
    assert f"compared with {RUN[:-1]}1, which the suite does not train" in capsys.readouterr().err
    path.write_text(text.replace("half: b,", "half: b, training: {batch: 5},"))
    assert main(["plan", "--suite", "tiny"]) == 1
    assert "must be trained with the same options" in capsys.readouterr().err
    path.write_text(text)


def test_cosine_ignores_mean_and_contrast_and_training_images_are_found(place):
    images = torch.rand(4, 8, 8, 1, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(cosines.cosine(images, 0.3 * images + 7), 1, atol=1e-9)
    np.testing.assert_allclose(cosines.cosine(images, -images), -1, atol=1e-9)
    run = runs.Run(place)
    np.testing.assert_allclose(
        cosines.most_similar(run.train_images(3)[:, :, ::-1].copy(), run.train_images(), mirrored=True),
        1,
        atol=1e-9,
    )


def test_a_measurement_that_a_network_does_not_allow_is_left_out_with_its_reason(place, monkeypatch, capsys):
    def refuse(*given):
        raise LeftOut("the reason")

    monkeypatch.setattr(jacobian, "measure", refuse)
    measure("jacobian")
    assert f"{RUN}: jacobian is left out: the reason" in capsys.readouterr().err
    assert not len(rows(place, "jacobian_eigenvalue")) and len(rows(place, "psnr_mean"))
    assert json.loads((place / "measurements.json").read_text())["jacobian"]["left_out"] == "the reason"
    monkeypatch.undo()
    measure("jacobian")
