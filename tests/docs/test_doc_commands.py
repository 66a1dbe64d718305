"""Every command of every page: those of Snakemake are planned, those of bench are parsed, and the quick ones are run.

What a page's command trains, measures, downloads or draws for minutes has tests of its own; here the whole command line
must be accepted, with its verbs, options, values and suites.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench.cli import app, main
from bench.suite import config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page for page in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]) if page.stem != "options"
]
# What stands for a name of the reader's, and what a test puts there
PLACEHOLDERS = {"SUITE": "demo", "RUN": "disks-16.dit-t16.n10.s0", "NAME": "disks-8", "DATASET": "disks-8"}
PLACEHOLDERS |= {
    "METRIC": "psnr",
    "FILE": "x.npz",
    "DIR": "photos",
    "S": "0",
    "SPACE.POOL.COUNT": "random-conv.train.all",
}
PLACEHOLDERS |= {"figNAME": "fig2", "my_model.py:NAME": "my_model.py:plain"}
QUICK = (
    "data list",
    "doctor",
    "plan",
    "config options",
    "config schema",
    "claims",
    "baselines show",
    "runs",
)


def commands(page: Path, program: str) -> list[str]:
    """Return the commands of a program that stand in code: between backticks, or in an indented or fenced line."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(rf"`(?:\.venv/bin/)?({program} [^`]*)`", text)
    lines = re.findall(rf"^(?: {{4,}}|until |)(?:\.venv/bin/)?({program} .*)$", text, re.M)
    found = [
        re.split(r"\s{2,}#|;| && | > ", " ".join(one.split("\n")))[0].strip() for one in [*inline, *lines]
    ]
    return list(dict.fromkeys(one for one in found if not re.match(r"bench (VERB|--)", one)))


def words(command: str) -> list[str]:
    """Return a command's words behind its program, the reader's own names filled in."""
    found = []
    for word in shlex.split(command, comments=True)[1:]:
        for placeholder, name in sorted(PLACEHOLDERS.items(), reverse=True):
            word = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?![\w-])", name, word)
        found.append(word)
    return found


def parse(given: list[str]) -> None:
    """Parse a whole command line without running it; a verb that is only named may lack its arguments."""
    command, name = typer.main.get_command(app), "bench"
    context = command.make_context(name, list(given[:1]), resilient_parsing=True)
    while isinstance(command, typer.core.TyperGroup) and given and given[0] in command.commands:
        command, name, given = command.commands[given[0]], given[0], given[1:]
        options_only = isinstance(command, typer.core.TyperGroup) and given and given[0].startswith("-")
        context = command.make_context(
            name,
            list(given),
            parent=context,
            resilient_parsing=not given or options_only,
            allow_extra_args=True,
        )
    assert name != "bench", f"no such verb: {given}"


CASES = [(page, one) for page in PAGES for one in commands(page, "bench")]


@pytest.mark.parametrize(("page", "command"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_bench(page, command, tmp_path, monkeypatch, capsys):
    given = words(command)
    parse(given)
    stem = " ".join(given[:2] if given[0] in ("data", "config", "baselines") else given[:1])
    if stem in QUICK and not set(given) & {"--watch", "check", "match", "clean", "tensorboard", "H100"}:
        monkeypatch.chdir(ROOT)
        assert main(given) in (0, 1 if stem == "doctor" else 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with the model file of the page on architectures."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("bench", "config", "workflow", "slurm", "examples", "snakemake_executor_plugin_submitit"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True
        )
    (folder / "results").mkdir()
    (folder / "results" / "baselines").symlink_to(ROOT / "results" / "baselines")
    shutil.copy2(ROOT / "Snakefile", folder)
    page = (ROOT / "docs" / "add-architecture.md").read_text(encoding="utf-8")
    (folder / "my_model.py").write_text(re.search(r"```python\n(.*?)```", page, re.S)[1])
    return folder


PLANNED = [(page, one) for page in PAGES for one in commands(page, "snakemake") if "--report" not in one]


@pytest.mark.workflow
@pytest.mark.parametrize(("page", "command"), PLANNED, ids=lambda value: getattr(value, "stem", value))
def test_snakemake(page, command, project):
    """A dry run of each command; `--report` needs finished results and has a test among those of the workflow."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(project), "PATH": path, "BENCH_MODEL": ""}
    environment.pop("BENCH_CONFIG", None)
    done = subprocess.run(
        ["snakemake", *words(command), "-n", "--quiet"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_suites(page):
    known = {*config.suites(), "SUITE", "X", "NAME", "mine"}  # a suite of the reader's adopted networks
    text = page.read_text(encoding="utf-8")
    for suite in re.findall(r"(?:--suite |suite=)([A-Za-z][\w-]*)", text):
        assert suite in known, f"{page.name}: suite {suite}"
