"""Two disjoint halves: N images each, the same test images, the same subset file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import read_subset, write_subset
from bench.suite import plan
from bench.suite.options import RunSpec
from bench.support.errors import BenchError
from bench.support.options import from_dict, to_dict

ROOT = Path(__file__).resolve().parents[2]


def test_halves_are_disjoint_and_share_the_test_images(tmp_path):
    row = DatasetOptions(title="x", resolution=8, channels=1, family="disks", train=20, test=6)
    build_dataset("data", row, tmp_path / "data")
    write_subset(tmp_path / "data", 0, tmp_path / "s0.npz")
    dataset = open_dataset(tmp_path / "data")
    first, test, _ = read_subset(tmp_path / "s0.npz", dataset, 10)
    second, same, _ = read_subset(tmp_path / "s0.npz", dataset, 10, half="b")
    assert len(second) == 10 and not set(first) & set(second)
    assert np.array_equal(test, same)
    with pytest.raises(BenchError, match="20 training images, too few for two disjoint halves of N = 11"):
        read_subset(tmp_path / "s0.npz", dataset, 11, half="b")


def test_half_b_is_a_run_of_its_own(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    path = tmp_path / "config" / "suites" / "smoke.yaml"
    value = yaml.safe_load(path.read_text())
    value["runs"].append({**value["runs"][0], "half": "b"})
    path.write_text(yaml.safe_dump(value))
    suite = plan.load("smoke")
    run = suite.run("disks-8.dit-t16.n10.s0.half-b")
    assert run.half == "b" and run.recipe == "half-b"
    assert suite.recipe(run.name) != suite.recipe("disks-8.dit-t16.n10.s0")
    old = to_dict(run)
    del old["half"]
    assert from_dict(RunSpec, old).half == "a"  # records of before
