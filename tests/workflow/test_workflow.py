"""The graph as a user meets it: whole, again, after a change, and one figure alone."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results.tidy import read_tidy

ROOT = Path(__file__).resolve().parent.parent.parent
COPIED = ("Snakefile", "bench", "config", "workflow", "slurm", "snakemake_executor_plugin_submitit")
SMALL = """
title: Two tiny runs
training: {steps: 6, batch: 4, ema: 0.5}
measure:
  psnr: {images: 4, steps: 3}
  jacobian: {step_indices: [1], steps: 3, vectors: [0, 7]}
  attention: {images: 1, step_indices: [1], steps: 3}
  samples: {count: 8, sampler: ddim, steps: 3}
  frechet: {features: random-conv}
runs:
  - {datasets: [disks-8], models: [dit-t16, dit-t16-local, unet-t16], train_sizes: [10]}
items:
  fig2: {models: [unet-t16, dit-t16]}
  fig3: {models: [unet-t16, dit-t16]}
  fig4: {models: [dit-t16]}
  fig6: {}
  tab1: {}
"""


class Project:
    """A copy of the project that a test may edit, and Snakemake in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name, follow_symlinks=False)
        (folder / "config" / "suites" / "small.yaml").write_text(SMALL)
        self.environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.environment.pop("BENCH_CONFIG", None)

    def snakemake(self, *words: str, suite: str = "small", cores: str = "2") -> str:
        command = [Path(sys.executable).parent / "snakemake", "--cores", cores, *words]
        command += ["--config", f"suite={suite}"] if suite else []
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text[-3000:]
        return text

    def planned(self, *words: str) -> set[str]:
        """Return the rules that a dry run would run."""
        text = self.snakemake("-n", *words)
        table = text.split("Job stats:")[1].split("\n\n")[0] if "Job stats:" in text else ""
        return {line.split()[0] for line in table.splitlines()[3:] if line.strip()} - {"total", "all"}

    def runs_of(self, rule: str) -> set[str]:
        """Return the models that a dry run would run a rule for."""
        text = self.snakemake("-n")
        blocks = re.findall(rf"rule {rule}:.*?(?=\n\[|\nJob stats|\Z)", text, re.S)
        return {m for block in blocks for m in re.findall(r"run=disks-8\.(\S+)\.n10", block)}

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose suite `small` has run whole, in a folder whose name needs quoting everywhere."""
    project = Project(tmp_path_factory.mktemp("it's a $project & more"))
    project.snakemake("all")
    return project


pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]


def test_all_items_are_there(project):
    for item in ("fig2", "fig3", "fig4", "fig6"):
        for form in ("pdf", "png", "json"):
            assert (project.folder / f"figures/small/{item}.{form}").stat().st_size > 100
    for form in ("csv", "md", "tex"):
        assert (project.folder / f"results/small/tables/tab1.{form}").stat().st_size > 50


def test_jobs_were_given_the_plan_with_which_they_were_submitted(project):
    """The start hook writes it; a second `onstart` anywhere would silently take the place of the first."""
    (plan,) = project.folder.glob(".runs/small/plan-*.json")
    assert '"codes"' in plan.read_text()
    rules = [project.folder / "Snakefile", *(project.folder / "workflow/rules").glob("*.smk")]
    assert sum(len(re.findall(r"^onstart:", file.read_text(), re.M)) for file in rules) == 1


def test_the_tidy_table_counts_parameters(project):
    tidy = read_tidy(project.folder / "results/small/tidy.csv")
    counted = tidy[tidy["metric"] == "parameters"].set_index("model")["value"]
    assert counted["dit-t16"] == counted["dit-t16-local"] == 477_636 and counted["unet-t16"] > 200_000


def test_a_second_run_starts_no_job(project):
    assert "Nothing to be done" in project.snakemake("all")


def test_a_changed_comment_reruns_nothing(project):
    project.edit("bench/models/dit.py", "EPSILON = 1e-6", "EPSILON = 1e-6  # a changed comment")
    try:
        assert project.planned("all") == set()
    finally:
        project.edit("bench/models/dit.py", "EPSILON = 1e-6  # a changed comment", "EPSILON = 1e-6")


def test_a_changed_number_reruns_the_dit_runs_and_not_the_unets(project):
    project.edit("bench/models/dit.py", "EPSILON = 1e-6", "EPSILON = 1e-5")
    try:
        assert project.runs_of("train") == {"dit-t16", "dit-t16-local"}
        why = subprocess.run(
            [sys.executable, "-m", "bench", "why", "disks-8.dit-t16.n10.s0", "--suite", "small"],
            cwd=project.folder, env=project.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert "code: bench.models.dit: EPSILON" in why.stdout
    finally:
        project.edit("bench/models/dit.py", "EPSILON = 1e-5", "EPSILON = 1e-6")


def test_a_changed_measurement_option_measures_again_and_trains_nothing(project):
    project.edit("config/suites/small.yaml", "psnr: {images: 4", "psnr: {images: 5")
    try:
        planned = project.planned("all")
        assert "measure" in planned and "train" not in planned
    finally:
        project.edit("config/suites/small.yaml", "psnr: {images: 5", "psnr: {images: 4")


def test_what_was_made_by_hand_is_asked_how_it_was_made(project):
    """Snakemake has no record of it, or one that is no longer true."""

    def bench(*words: str) -> None:
        command = [sys.executable, "-m", "bench", *words]
        subprocess.run(command, cwd=project.folder, env=project.environment, check=True, capture_output=True)

    rows, suite = "config/datasets.yaml", "config/suites/small.yaml"
    records, away = project.folder / ".snakemake/metadata", project.folder / ".snakemake/away"
    records.rename(away)
    try:
        assert not {"dataset", "check"} & project.planned("all"), (
            "they say themselves that they are as planned"
        )
        project.edit(rows, "validation: 64, test: 64", "validation: 64, test: 32")
        assert {"dataset", "train", "measure"} <= project.planned("all")
        project.edit(rows, "validation: 64, test: 32", "validation: 64, test: 64")
    finally:
        away.rename(records)
    assert project.planned("all") == set()
    project.edit(suite, "title: Two tiny runs", "title: Three tiny runs")
    bench("check", "--suite", "small")
    project.edit(suite, "title: Three tiny runs", "title: Two tiny runs")
    assert "check" in project.planned("all")
    bench("check", "--suite", "small")
    project.snakemake("all")


def test_after_an_interruption_the_next_start_goes_on(project):
    """What a killed job left marked as incomplete is made again, without thirty lines of advice."""
    encoded = base64.urlsafe_b64encode(b"figures/small/fig6.png").decode()
    mark = project.folder / ".snakemake/incomplete" / encoded
    mark.parent.mkdir(exist_ok=True)
    mark.write_text('{"external_jobid": null}')
    assert "figure" in project.planned("all")
    project.snakemake("all", cores="1")


def test_a_deleted_figure_is_redrawn_alone(project):
    (project.folder / "figures/small/fig6.png").unlink()
    assert project.planned("fig6") - {"fig6"} == {"figure"}
    project.snakemake("fig6", cores="1")
    assert (project.folder / "figures/small/fig6.png").exists()


def test_the_report_holds_every_item(project):
    project.snakemake("--report", "report.zip")
    assert (project.folder / "report.zip").stat().st_size > 10_000


def test_a_wrong_suite_is_one_sentence(project):
    command = [Path(sys.executable).parent / "snakemake", "-n", "--config", "suite=smal"]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "There is no suite 'smal' (did you mean 'small'?)" in done.stdout + done.stderr


def test_a_changed_dataset_file_is_found(project):
    path = project.folder / "results/datasets/disks-8/train.npy"
    data = path.read_bytes()
    try:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        done = subprocess.run(
            [sys.executable, "-m", "bench", "measure", "psnr", "disks-8.dit-t16.n10.s0", "--suite", "small"],
            cwd=project.folder, env=project.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1 and "train.npy" in done.stderr and "Traceback" not in done.stderr
    finally:
        path.write_bytes(data)


def test_the_paper_suite_can_be_planned(project):
    text = project.snakemake("-n", "--profile", "slurm", "all", suite="")
    assert len(text) < 1_000_000
    stats = dict(re.findall(r"^(\w+)\s+(\d+)$", text, re.M))
    assert int(stats["train"]) > 150 and int(stats["total"]) <= 500, text[-2000:]


def test_samples_and_the_python_door(project):
    words = [
        "sample",
        "disks-8.dit-t16.n10.s0",
        "--suite",
        "small",
        "--count",
        "4",
        "--steps",
        "3",
        "--out",
        "drawn",
    ]
    run = [sys.executable, "-m", "bench", *words]
    assert subprocess.run(run, cwd=project.folder, env=project.environment).returncode == 0
    assert (project.folder / "drawn.png").exists() and (project.folder / "drawn.npz").exists()
    code = (
        "import bench, torch; run = bench.load('results/small/runs/disks-8.dit-t16.n10.s0'); "
        "x = torch.zeros(1, 1, 8, 8); assert run.model(x, torch.tensor([3])).shape == x.shape"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=project.folder, env=project.environment).returncode
        == 0
    )


def test_the_rules_are_lint_clean():
    snakemake = Path(sys.executable).parent / "snakemake"
    done = subprocess.run([snakemake, "--lint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
