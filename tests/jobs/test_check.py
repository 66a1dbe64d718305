"""``bench check``: what is known of a suite before its first job."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.jobs import check
from bench.suite import plan

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
title: One network under two names
training: {steps: 4, batch: 4, ema: 0.5}
measure: {psnr: {images: 4, steps: 3}}
runs:
  - {datasets: [disks-8], models: [dit-t16, twin, cousin], train_sizes: [10, 100], shuffles: [0, 1]}
items: {fig2: {}}
"""


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("BENCH_MODEL", "")
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "config" / "models.yaml").open("a") as file:
        file.write("\ntwin: {extends: dit-t16, options: {windows: null}}\n")
        file.write("cousin: {extends: dit-t16, options: {width: 32}}\n")
    file = tmp_path / "config" / "suites" / "mine.yaml"
    file.write_text(SUITE)
    return file


def test_one_network_under_two_names_is_noticed(suite, capsys):
    assert main(["check", "--suite", "mine"]) == 0
    said = capsys.readouterr().err
    assert "dit-t16 and twin are the same network, and 4 of their runs are trained twice" in said
    assert "cousin" not in said
    suite.write_text(SUITE.replace("[dit-t16, twin, cousin]", "[twin, cousin]"))
    assert check.trained_twice(plan.load("mine")) == []


def test_an_item_that_there_is_not(suite, capsys):
    suite.write_text(SUITE.replace("fig2: {}", "fgi2: {}"))
    assert main(["check", "--suite", "mine"]) == 1
    assert "there is no 'fgi2' (did you mean 'fig2'?)" in capsys.readouterr().err
    assert not Path("results").exists()
