"""The doctor's findings, each on a machine that has the thing and on one that has not."""

from __future__ import annotations

import shutil
import subprocess
from collections import namedtuple

import pytest

from bench.cli import main
from bench.jobs import doctor


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_INCEPTION", str(tmp_path / "absent"))
    monkeypatch.delenv("BENCH_MODEL", raising=False)


def test_one_line_each(capsys):
    status = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    whats = [line[9:].split("  ")[0].strip() for line in lines]
    wanted = ["Python", "packages", "torch", "device", "Slurm", "data disks-16"]
    assert whats == [*wanted, "feature weights", "disk", "git"]
    assert status == int(any(line.startswith("MISSING") for line in lines))
    demo = {what: line.split()[0] for what, line in zip(whats, lines)}
    assert demo["feature weights"] == "note", "the demo needs none"
    assert demo["data disks-16"] == "ok"


def test_what_a_suite_needs_and_is_not_here(monkeypatch, capsys):
    found = {finding.what: finding for finding in doctor.findings("paper")}
    assert found["feature weights"].works is False and "sha256 f58cb9b6" in found["feature weights"].text
    assert found["data celeba"].works is False and "mmlab.ie.cuhk.edu.hk" in found["data celeba"].text
    assert main(["doctor", "--suite", "papre"]) == 1
    assert "There is no suite 'papre' (did you mean 'paper'?)" in capsys.readouterr().out


def test_an_old_python_a_missing_package_a_full_disk(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert doctor.python() == (
        "Python",
        False,
        "3.9.1 is too old; install 3.11 or newer and run `make setup`.",
    )
    monkeypatch.setattr(
        doctor.importlib.metadata, "requires", lambda name: ["torch>=2", "nopackage>=1", 'x; extra == "dev"']
    )
    assert doctor.packages().text.startswith("nopackage missing")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**29))
    assert doctor.disk().works is False and "0.5 GiB free" in doctor.disk().text


def test_slurm(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor.slurm().works is None
    monkeypatch.setattr(shutil, "which", lambda name: name)
    answer = subprocess.CompletedProcess([], 0, "gpu*\nlong\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *words, **more: answer)
    assert doctor.slurm() == ("Slurm", True, "partitions: gpu* long; set yours in slurm/config.yaml")
    answer.returncode, answer.stderr = 1, "trying\nno controller\n"
    assert "sinfo fails (no controller)" in doctor.slurm().text


@pytest.mark.parametrize(
    ("state", "works"),
    [
        ({"commit": None, "dirty": None}, None),
        ({"commit": "c" * 40, "dirty": True}, None),
        ({"commit": "c" * 40, "dirty": False}, True),
    ],
)
def test_git(monkeypatch, state, works):
    monkeypatch.setattr("bench.support.provenance.environment", lambda: {"git": state})
    assert doctor.git().works is works
