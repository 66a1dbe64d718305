"""Bad files, options and variables: one sentence, before anything is trained, and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from bench.report import items

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
title: One
training: {steps: 4, batch: 4, ema: 0.5}
measure: {psnr: {images: 4, steps: 3}}
runs: [{datasets: [disks-8], models: [dit-t16], train_sizes: [10]}]
items: {fig2: {}}
"""
CLAIM = """
mine: {sentence: one two three four, source: x, version: all, left: {metric: psnr_mean}, relation: '<', right: 3}
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A copy of the configuration, with a suite `one`."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    (folder / "suites" / "one.yaml").write_text(SUITE)
    monkeypatch.setenv("BENCH_CONFIG", str(folder))
    monkeypatch.setenv("BENCH_MODEL", "")
    monkeypatch.setenv("BENCH_PLAN", "")
    monkeypatch.chdir(tmp_path)
    return folder


def refused(capsys: pytest.CaptureFixture, *words: str) -> str:
    """Run a command that must be refused by one sentence; return it."""
    assert main(list(words)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("bench: error: ")
    return said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "fig2",
            "tab1",
            "items: tab1 needs frechet, which the suite does not measure; set `measure: {frechet: ...}`",
        ),
        ("fig2", "figA4", "items: figA4 needs attention"),
        ("fig2: {}", "fig2: {models: []}", "items.fig2: models must not be empty; leave it out to show all"),
        ("steps: 3", "steps: 1001", "psnr.steps (1001) are more than training.timesteps (1000)"),
        ("ema: 0.5", "weight_decay: .inf", "training: weight_decay must be finite and not negative, not inf"),
        ("[10]", "[10], shuffles: [-1]", "runs.0: shuffles must lie in 0..2^32 - 1, not [-1]"),
        ("[10]", "[10], recipe: a/b", "runs.0: a recipe cannot be named 'a/b'"),
        ("[10]", "[10], recipe: 'a {b}'", "runs.0: a recipe cannot be named 'a {b}'"),
        ("[10]", f"[10], recipe: {'x' * 101}", "runs.0: a recipe cannot be named"),
    ],
)
def test_suite(config, capsys, old, new, said):
    (config / "suites" / "one.yaml").write_text(SUITE.replace(old, new))
    assert said in refused(capsys, "check", "--suite", "one")
    assert not Path("results").exists()


def test_files_of_suites(config, capsys):
    (config / "suites" / "._one.yaml").write_bytes(b"\x00\xff")  # what a file manager leaves
    (config / "suites" / "two.yml").write_text(SUITE)
    assert f"ends in .yaml; rename {config}/suites/two.yml" in refused(capsys, "plan", "--suite", "two")
    (config / "papers" / "an2024" / "suites" / "one.yaml").write_text(SUITE.replace("steps: 4", "steps: 5"))
    assert "are two suites of one name; rename one" in refused(capsys, "plan", "--suite", "one")


@pytest.mark.parametrize("name", ["a b", "a{b}", "a+b", "-x", "ü"])
def test_names_that_become_files(config, capsys, monkeypatch, name):
    (config / "suites" / f"{name}.yaml").write_text(SUITE)
    assert f"a suite cannot be named {name!r}" in refused(capsys, "plan", f"--suite={name}")
    Path("mine.py").write_text(f"@register_model({name!r})\ndef mine(image_size, channels): ...\n")
    monkeypatch.setenv("BENCH_MODEL", "mine.py")
    assert f"mine.py: a model cannot be named {name!r}" in refused(capsys, "plan", "--suite", "one")
    with (config / "models.yaml").open("a") as file:
        file.write(f"{name!r}: {{extends: dit-t16}}\n")
    assert f"models.yaml: a model cannot be named {name!r}" in refused(capsys, "plan", "--suite", "one")


def test_a_suite_has_a_folder_of_its_own(config, capsys):
    (config / "suites" / "datasets.yaml").write_text(SUITE)
    assert "results/datasets is not a suite's folder; give" in refused(capsys, "plan", "--suite", "datasets")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{metric: psnr_mean}", "{metric: psnr_mean, times: x}", "left: times cannot be 'x'"),
        ("{metric: psnr_mean}", "{metric: psnr_mean, train_size: lots}", "left: train_size cannot be 'lots'"),
        ("{metric: psnr_mean}", "{metric: psnr_mean, index: 1.5}", "left: index cannot be 1.5"),
        ("{metric: psnr_mean}", "{metric: psnr_mean, permuted: 1}", "left: permuted cannot be 1"),
        ("{metric: psnr_mean}", "{metric: psnr_mean, role: {a: b}}", "left: role cannot be {'a': 'b'}"),
        ("{metric: psnr_mean}", "{metric: []}", "left: there is no metric ''"),
        ("right: 3", "right: .nan", "right must be finite, not nan"),
        ("right: 3", "right: {metric: macs, times: 0}", "right: times cannot be 0"),
    ],
)
def test_claims(config, capsys, old, new, said):
    (config / "papers" / "an2024" / "claims.yaml").write_text(CLAIM.replace(old, new))
    assert f"claims.yaml: mine: {said}" in refused(capsys, "claims")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("train_size", "lots", "train_size: 'lots' in line 2 is not a number"),
        ("index", "1.5", "index: '1.5' in line 2 is not a whole number"),
        ("value", "inf", "value: 'inf' in line 2 is not a number"),
        ("value", "", "has a row without a value"),
        ("train_size", None, "lacks the column 'train_size'"),
        ("value", None, "lacks the column 'value'"),
    ],
)
def test_printed_numbers(config, capsys, column, value, said):
    file = config / "papers" / "an2024" / "published.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if value is None:
        del table[column]
    else:
        table.loc[0, column] = value
    table.to_csv(file, index=False)
    assert f"published.csv{' ' if said[0] in 'hl' else ': '}{said}" in refused(capsys, "claims")


def test_what_a_file_manager_leaves_among_the_files_of_a_paper(config):
    before = items.data_of("tab1")
    (config / "papers" / "an2024" / ".DS_Store").write_bytes(b"\x00\xff\xfe")
    assert items.data_of("tab1") == before


@pytest.mark.parametrize("device", ["tpu", "CPU", "", "cuda:x", "mps", "meta"])
def test_device(config, capsys, device):
    words = ["train", "disks-8.dit-t16.n10.s0", "--suite", "one", "--device", device]
    assert f"--device {device}: there is no such device; use cpu, cuda, or cuda:NUMBER." in refused(
        capsys, *words
    )


def test_a_model_file_that_is_no_text(config, capsys, monkeypatch):
    Path("binary.py").write_bytes(b"\x00\x01")
    monkeypatch.setenv("BENCH_MODEL", "binary.py")
    assert "binary.py cannot be read as Python" in refused(capsys, "check", "--suite", "one")


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "--watch", "nan"],
        ["runs", "--watch", "-5"],
        ["plan", "--tflops", "nan"],
        ["pieces", "--minutes", "inf"],
        ["pieces", "--side-by-side", "0"],
        ["train", "disks-8.dit-t16.n10.s0", "--checkpoint-seconds", "-1"],
    ],
)
def test_numbers_on_the_command_line(config, capsys, words):
    assert main([*words, "--suite", "one"]) == 2
    assert f"Invalid value for '{words[-2]}'" in capsys.readouterr().err
    assert not Path("results").exists()
