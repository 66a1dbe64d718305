"""A command runs in the project's root, with the code of that folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.cli import main
from bench.support import root
from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("BENCH_CONFIG", raising=False)


def test_a_subfolder_is_refused_and_the_root_named(monkeypatch, capsys):
    monkeypatch.chdir(ROOT / "docs")
    assert main(["items"]) == 1
    assert (
        f"This is a subfolder of the project; run commands in its root: cd {ROOT}." in capsys.readouterr().err
    )
    assert main(["figure", "--help"]) == 0
    monkeypatch.chdir(ROOT)
    root.check()


def test_a_copy_with_the_code_of_its_original_is_refused(tmp_path, monkeypatch):
    (tmp_path / "bench").mkdir()
    for name in ("Snakefile", "bench/__init__.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=f"is the code of {ROOT}, not of this folder"):
        root.check()
    monkeypatch.setenv("BENCH_CONFIG", str(ROOT / "config"))
    root.check()


def test_any_other_folder_will_do_and_is_named_where_results_are_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root.check()
    for words in (["figure", "fig2"], ["baselines", "show"]):
        assert main(words) == 1
        assert f"This folder is not the project's root; cd to {ROOT}." in capsys.readouterr().err


def test_make_builds_the_environment_of_a_moved_folder_anew(tmp_path):
    """With a Python that only pretends to make environments, since the real one downloads gigabytes."""
    here, there = tmp_path / "it's here", tmp_path / "moved on"
    here.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, here)
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\n[ "$2" != venv ] || { mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo made; }\n'
    )
    python.chmod(0o755)

    def setup(folder: Path) -> str:
        done = subprocess.run(
            ["make", "-s", "setup", f"PYTHON={python}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "made" in setup(here) and "made" not in setup(here)
    (here / ".venv" / "of the old folder").touch()
    here.rename(there)
    assert "made" in setup(there) and not (there / ".venv" / "of the old folder").exists()
    assert "made" not in setup(there)
