"""From the blocks of a suite to its runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from bench.suite import plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import write_json
from bench.support.options import to_dict

ROOT = Path(__file__).resolve().parents[2]
SUITE = {
    "title": "Half budgets",
    "half_budget": True,
    "training": {"steps": 31, "warmup": 20, "snapshots": [5, 30]},
    "measure": {
        "psnr": {"images": 8, "steps": 5},
        "jacobian": {"images": 1, "step_indices": [1], "steps": 5, "vectors": [0, 7]},
    },
    "runs": [
        {"datasets": ["disks-8"], "models": ["unet-t16", "wiener"], "train_sizes": [10, 100], "shuffles": [3, 4]},
        {
            "datasets": ["disks-8"], "models": ["dit-t16"], "train_sizes": [10], "recipe": "short",
            "training": {"steps": 10, "warmup": 0, "snapshots": []},
        },
    ],
}  # fmt: skip


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return the function that writes a suite and loads it, in an empty folder."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("BENCH_MODEL", "")
    monkeypatch.chdir(tmp_path)

    def write(value: dict) -> plan.Plan:
        (tmp_path / "config" / "suites" / "mine.yaml").write_text(yaml.safe_dump(value))
        return plan.load("mine")

    return write


def test_half_budgets_are_one_shuffle_of_each_network_and_n(load):
    suite = load(SUITE)
    halves = {name: run for name, run in suite.runs.items() if run.recipe.endswith("half-budget")}
    assert set(halves) == {
        "disks-8.unet-t16.n10.s3.half-budget",
        "disks-8.unet-t16.n100.s3.half-budget",
        "disks-8.dit-t16.n10.s0.short-half-budget",
    }
    training = halves["disks-8.unet-t16.n10.s3.half-budget"].training
    assert (training.steps, training.warmup, training.snapshots) == (15, 14, [])
    assert halves["disks-8.dit-t16.n10.s0.short-half-budget"].training.steps == 5
    assert {metric for name in halves for metric in suite.metrics(name)} - {"psnr"} <= {"cost"}
    assert len(load({**SUITE, "half_budget": False}).runs) == len(suite.runs) - 3


def test_pools_count_as_they_were_built(load):
    """Near duplicates may have been dropped: the row promises 64 test images, and 63 are there."""
    assert load({**SUITE, "measure": {"psnr": {"images": 64}}})
    row = to_dict(load(SUITE).all_datasets["disks-8"])
    write_json(
        paths.dataset_folder("disks-8") / "manifest.json",
        {"made": row, "train": 200, "validation": 64, "test": 63},
    )
    with pytest.raises(BenchError, match=r"runs.0: psnr.images is 64, disks-8 has 63 test images; lower it"):
        load({**SUITE, "measure": {"psnr": {"images": 64}}})


def test_a_written_plan_reads_as_it_was(load):
    suite = load(SUITE)
    suite.write()
    read = plan.read(paths.plan_file("mine"))
    assert (read.runs, read.items, read.title) == (suite.runs, suite.items, suite.title)
    assert read.models["unet-t16"] == suite.models["unet-t16"]
    assert read.all_datasets["disks-8"] == suite.all_datasets["disks-8"]
