"""A job runs what it was submitted with, whatever the files say by the time it starts."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.suite import plan, submitted
from bench.support import fingerprint
from bench.support.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
RUN = "disks-8.unet-t16.n10.s0"
SUITE = """
title: One run
training: {steps: 4, batch: 4, ema: 0.5}
measure: {psnr: {images: 4, steps: 3}}
runs: [{datasets: [disks-8], models: [unet-t16], train_sizes: [10]}]
"""


@pytest.fixture
def waiting(tmp_path, monkeypatch) -> Path:
    """A folder in which the plan of suite `one` was submitted; returns the suite's file."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("BENCH_MODEL", "")
    monkeypatch.delenv(submitted.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config" / "suites" / "one.yaml"
    file.write_text(SUITE)
    submitted._plan.cache_clear()  # of another test's file under the same relative name
    monkeypatch.setenv(submitted.VARIABLE, str(plan.load("one").submit(("bench.results.tidy",))))
    return file


def commands() -> None:
    assert main(["data", "build", "disks-8", "--workers", "1"]) == 0
    out = ["--shuffle", "0", "--out", "results/subsets/disks-8/s0.npz"]
    assert main(["data", "subset", "results/datasets/disks-8", *out]) == 0
    assert main(["train", RUN, "--suite", "one", "--device", "cpu"]) == 0


def test_edited_options_do_not_reach_a_submitted_job(waiting):
    waiting.write_text(SUITE.replace("steps: 4", "steps: 2").replace("unet-t16", "dit-t16"))
    rows = waiting.parents[1] / "datasets.yaml"
    rows.write_text(rows.read_text().replace("test: 64", "test: 32", 1))
    commands()
    assert read_json(f"results/one/runs/{RUN}/run.json")["spec"]["training"]["steps"] == 4
    assert read_json("results/datasets/disks-8/manifest.json")["test"] == 64
    assert main(["measure", "all", RUN, "--suite", "one", "--device", "cpu"]) == 0
    assert main(["tidy", "--suite", "one"]) == 0


def test_options_as_they_are_are_refused_for_a_run_of_other_ones(waiting, monkeypatch, capsys):
    commands()
    waiting.write_text(SUITE.replace("steps: 4", "steps: 2"))
    monkeypatch.setenv(submitted.VARIABLE, "")
    assert main(["measure", "all", RUN, "--suite", "one", "--device", "cpu"]) == 1
    assert "was trained with other options than suite 'one' has now" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["data", "build", "disks-8"],
        ["data", "subset", "disks-8", "--shuffle", "0", "--out", "s0.npz"],
        ["train", RUN, "--suite", "one"],
        ["measure", "all", RUN, "--suite", "one"],
        ["reference", "disks-8", "random-conv.train.all"],
        ["tidy", "--suite", "one"],
    ],
    ids=lambda words: words[0],
)
def test_changed_code_is_refused(waiting, monkeypatch, capsys, words):
    monkeypatch.setattr(submitted, "files", lambda: "")
    monkeypatch.setattr(submitted, "fingerprint", lambda *entries: "0123456789abcdef")
    assert main(words) == 1
    said = capsys.readouterr().err
    assert (
        "The code changed after this job was submitted" in said
        and "Start the same `snakemake` command" in said
    )
    assert not Path("results").exists()


def test_code_is_read_again_only_where_a_file_changed(waiting, monkeypatch):
    read = []
    monkeypatch.setattr(submitted, "fingerprint", lambda *e: read.append(e) or fingerprint.fingerprint(*e))
    submitted.check_code("bench.results.tidy")
    assert not read
    monkeypatch.setattr(submitted, "files", lambda: "a comment was edited")
    submitted.check_code("bench.results.tidy")
    assert read == [("bench.results.tidy",)]


def test_a_plan_that_does_not_know_the_code_is_refused(waiting, capsys):
    """Its job must not take the code as it is without a word."""
    file = submitted.plan_file()
    write_json(file, read_json(file) | {"codes": {}})
    assert main(["train", RUN, "--suite", "one"]) == 1
    said = capsys.readouterr().err
    assert f"{file}, with which this job was submitted, has no code of bench.training.train" in said
    assert not Path("results").exists()


def test_a_measurement_refuses_an_input_from_the_future(waiting, capsys):
    """Snakemake would discard the measurements; a retry would not help."""
    commands()
    for name in (f"runs/{RUN}/history.csv", f"runs/{RUN}/weights.safetensors", "../subsets/disks-8/s0.npz"):
        file = Path("results/one") / name
        os.utime(file, (time.time() + 3600, time.time() + 3600))
        assert main(["measure", "all", RUN, "--suite", "one", "--device", "cpu"]) == 1
        assert "was last changed in the future" in (said := capsys.readouterr().err) and file.name in said
        os.utime(file)


def test_by_hand_the_files_count_as_they_are(waiting, monkeypatch):
    monkeypatch.setenv(submitted.VARIABLE, "")
    waiting.write_text(SUITE.replace("steps: 4", "steps: 2"))
    assert plan.load("one").run(RUN).training.steps == 2
    submitted.check_code("bench.results.tidy")
    assert submitted.code("bench.results.tidy") == fingerprint.fingerprint("bench.results.tidy")
