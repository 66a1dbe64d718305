"""The command line as a whole: quick help, one-line errors, exit codes, completion."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.cli import main

HEAVY = ("torch", "numpy", "pandas", "scipy", "matplotlib", "snakemake")


def test_help_lists_every_verb_in_one_line_and_imports_nothing_heavy():
    look = f"sys.exit(str([m for m in {HEAVY} if m in sys.modules]))"
    code = f"import sys; from bench.cli import main; main(['--help']); {look}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"}
    )
    assert done.stderr.strip() == "[]"
    lines = [line.strip("│ ") for line in done.stdout.splitlines() if line.startswith("│")]
    for verb in (
        "doctor",
        "check",
        "plan",
        "runs",
        "train",
        "measure",
        "data",
        "models",
        "figure",
        "compare",
    ):
        assert any(line.startswith(f"{verb} ") and line.endswith(".") for line in lines), verb


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["plan", "--siute", "demo"], 2, "No such option: --siute"),
        (["plam"], 2, "No such command 'plam'"),
        (["train"], 2, "Missing argument 'RUN'; see `bench train --help`."),
        (["measure", "psnrr", "x"], 1, "did you mean 'psnr'"),
        (["plan", "--suite", "demoo"], 1, "did you mean 'demo'"),
        (["sample", "x", "--steps", "0"], 2, "'--steps'"),
        (["config", "shema"], 2, "'shema'"),
    ],
)
def test_a_wrong_command_is_one_line(words, status, message, capsys):
    assert main(words) == status
    said = capsys.readouterr().err
    assert said.startswith("bench: error: ") and message in said and said.count("\n") == 1


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bench 0.")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("bench pl", "plan"),
        ("bench plan --suite fam", "families"),
        ("bench train disks-16.dit-t16.n10", "disks-16.dit-t16.n10.s0"),
        ("bench data build disks-16-p", "disks-16-permuted"),
        ("bench models check dit-xs1-local-s", "dit-xs1-local-star"),
    ],
)
def test_completion_in_bash(typed, wanted):
    environment = os.environ | {
        "_BENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert wanted in done.stdout.split(), done.stderr
