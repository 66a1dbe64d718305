"""What the workflow refuses before its first job, in one sentence where Snakemake's own answer is a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("Snakefile", "bench", "config", "workflow", "snakemake_executor_plugin_submitit")

pytestmark = pytest.mark.workflow


def project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return folder


def refused(folder: Path, *words: str) -> str:
    """Run the workflow in ``folder``, where it must not start; return what it said beside its banner."""
    environment = os.environ | {"PYTHONPATH": str(folder), "BENCH_PLAN": ""}
    environment.pop("BENCH_CONFIG", None)
    command = [Path(sys.executable).parent / "snakemake", "--cores", "1", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said and said.count("bench: error:") == 1, said
    return said


@pytest.mark.parametrize("name", ["a {b}", "{", "a}", "{{input}}"])
def test_braces_in_the_folder(tmp_path, name):
    folder = project(tmp_path / name)
    assert f"Snakemake takes the braces in {folder} for wildcards: rename the folder." in refused(
        folder, "-n"
    )


def test_a_line_break_in_the_folder(tmp_path):
    folder = project(tmp_path / "a\nb")
    assert f"The folder {str(folder)!r} has a line break in its name: rename it." in refused(folder, "-n")


@pytest.mark.parametrize("name", [".snakemake", ".snakemake/metadata"])
def test_records_of_snakemake_that_cannot_be_written(tmp_path, name):
    folder = project(tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    assert f"{name} cannot be written: Not a directory. Free some space" in refused(folder, "all")
    assert not (folder / "results").exists()


def test_folders_that_cannot_be_written_and_inputs_from_the_future(tmp_path):
    folder, order = project(tmp_path), "results/subsets/disks-8/s0.npz"
    (folder / "logs").touch()
    assert "logs cannot be written: Not a directory." in refused(folder, order)
    (folder / "logs").unlink()
    words = ["data", "build", "disks-8", "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(folder), "BENCH_CONFIG": "", "BENCH_PLAN": ""}
    subprocess.run([sys.executable, "-m", "bench", *words], cwd=folder, env=environment, check=True)
    manifest = folder / "results/datasets/disks-8/manifest.json"
    os.utime(manifest, (time.time() + 3600, time.time() + 3600))
    said = refused(folder, order)
    assert f"{manifest.relative_to(folder)} was last changed in the future" in said and "with `touch" in said
    assert not (folder / order).exists() and not list(folder.glob(".snakemake/locks/*"))
