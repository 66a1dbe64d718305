"""Items of a suite that was never run here come from its stored baseline, and nothing is trained for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.report.context import Context
from bench.report.items import EVERY, ITEMS
from bench.results import staleness
from bench.support import paths

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = "smoke"


def store(suite: str) -> Path:
    """Write a synthetic suite and turn it into its baseline, as ``bench baselines promote`` lays it out."""
    make(suite)
    made, stored = paths.suite_folder(suite), paths.baselines_folder(suite)
    stored.mkdir(parents=True)
    (made / "plan.json").rename(stored / "plan.json")
    pd.read_csv(made / "tidy.csv", dtype=str).to_csv(paths.baseline_table(suite), index=False)
    (made / "tidy.csv").unlink()
    for arrays in sorted(made.glob("runs/*/arrays")):
        (stored / "arrays").mkdir(exist_ok=True)
        arrays.rename(stored / "arrays" / arrays.parent.name)
    shutil.rmtree(made)
    return stored


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return store(SUITE)


def sidecar(item: str) -> dict:
    return json.loads((paths.figures_folder(SUITE) / f"{item}.json").read_text())


def test_a_figure_says_that_it_is_from_the_baseline(stored):
    assert main(["figure", "fig3", "--suite", SUITE]) == 0
    assert sidecar("fig3")["from_baseline"]
    assert "stored baseline results/baselines/smoke" in sidecar("fig3")["caption"]
    assert all(name.startswith("results/baselines/") for name in sidecar("fig3")["inputs"])


def test_own_results_come_first(stored):
    make(SUITE)
    assert main(["figure", "fig2", "--suite", SUITE]) == 0
    assert not sidecar("fig2")["from_baseline"]


def test_pictures_that_may_not_be_passed_on_are_left_out(stored):
    plan = json.loads((stored / "plan.json").read_text())
    plan["datasets"]["disks-8"]["redistribute"] = False
    plan["items"]["fig1"] = plan["items"]["fig3"]
    (stored / "plan.json").write_text(json.dumps(plan))
    for file in sorted(stored.glob("arrays/*/jacobian.npz")):
        with np.load(file) as arrays:
            kept = {k: arrays[k] for k in arrays if not k.startswith(("images", "noisy", "eigenvectors"))}
        np.savez(file, **kept)
    for item in ("fig1", "fig3"):
        assert main(["figure", item, "--suite", SUITE]) == 0
        drawn = (paths.figures_folder(SUITE) / f"{item}.png").stat().st_size
        assert drawn > 5000, item


def test_the_notice_is_of_what_an_item_draws(stored, monkeypatch):
    run = json.loads((stored / "plan.json").read_text())["runs"][0]["name"]
    status = dict.fromkeys(((run, measure) for measure in EVERY), "")

    def note(item, **stale):
        now = status | {(run, m): why for m, why in stale.items()}
        known = {run: {"metrics": EVERY}}, lambda run, metric: now[run, metric]
        monkeypatch.setattr(staleness, "_stored", lambda suite, inputs: known)
        return Context(SUITE, item).stale(ITEMS[item].measures)

    frechet, jacobian = ({m: f"code of {m} changed"} for m in ("frechet", "jacobian"))
    assert all("STALE: 1 of" in note(item, **frechet) for item in ("tabA1", "tabA5", "tabA7", "tab1"))
    assert note("tabA4", **frechet) == "" == note("fig2", **frechet)
    assert note("figA12", **jacobian) == "" and "STALE" in note("tabClaims", **jacobian)
    assert "training of" in note("figA12", jacobian="training options changed, code of jacobian changed")
    assert note("tabProtocol", **jacobian) == "" == note("fig5", **jacobian)  # nothing measured is drawn


def test_a_suite_without_any_measurement_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figure", "fig2", "--suite", SUITE]) == 1
    error = capsys.readouterr().err
    assert "no stored baseline; run `snakemake --cores 2 all --config suite=smoke`." in error


@pytest.mark.workflow
def test_snakemake_draws_one_item_and_trains_nothing(stored, tmp_path):
    for name in ("bench", "config", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def snakemake(*words: str) -> str:
        command = [Path(sys.executable).parent / "snakemake", "--cores", "1", *words]
        done = subprocess.run(
            [*command, "--config", f"suite={SUITE}"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout + done.stderr

    planned = snakemake("-n", "fig2", f"results/{SUITE}/tables/tab1.md")
    assert "rule figure" in planned and "rule table" in planned and "rule train" not in planned
    snakemake("fig2")
    assert sidecar("fig2")["from_baseline"] and not (tmp_path / "results" / SUITE).exists()
    snakemake("tabProtocol")
    snakemake("--report", "report.zip", "fig2", "tabProtocol")
    with zipfile.ZipFile(tmp_path / "report.zip") as file:
        page = file.read("report/report.html").decode()
    for words in (
        "Paper figures",
        "Claims, quality, protocol",
        "PSNR of the one-step x0 estimate",
        "stored baseline",
    ):
        assert words in page
    assert "rule train" in snakemake("-n", "all")  # the whole suite is run, not looked up
