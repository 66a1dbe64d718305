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
from bench.support.errors import BenchError
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
    written = plan.load("one").submit(("bench.results.tidy",), files=submitted.files())
    monkeypatch.setenv(submitted.VARIABLE, str(written))
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


def test_the_hash_of_all_files_sees_what_an_import_would(tmp_path, monkeypatch):
    monkeypatch.setattr(submitted.paths, "ROOT", tmp_path)
    (tmp_path / "bench" / "models").mkdir(parents=True)
    file = tmp_path / "bench" / "models" / "dit.py"
    found = [submitted.files()]
    for change in (
        lambda: file.write_text("a = 1\n"),
        lambda: file.write_text("a = 2\n"),
        lambda: file.rename(file.with_name("vit.py")),
    ):
        change()
        found.append(submitted.files())
    assert len({*found}) == 4
    file.with_name(".#vit.py").symlink_to("me@host.1234")  # an editor's lock
    file.with_name("gone.py").symlink_to("nowhere.py")
    assert submitted.files() == found[-1]


def test_a_users_edited_model_is_refused_though_no_file_of_the_package_changed(
    waiting, tmp_path, monkeypatch
):
    model = tmp_path / "mine.py"
    model.write_text("WIDTH = 64\n")
    entries = ["bench.results.tidy", str(model)]
    monkeypatch.setenv(submitted.VARIABLE, "")
    file = plan.load("one").submit(entries, files=submitted.files())
    monkeypatch.setenv(submitted.VARIABLE, str(file))
    submitted.check_code(*entries)
    model.write_text("WIDTH = 32\n")
    fingerprint._parsed.cache_clear()  # a job is another process
    with pytest.raises(BenchError, match="The code changed after this job was submitted"):
        submitted.check_code(*entries)


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
