"""Every command of every page is run by a test, or the page says why not.

The quick ones are run here as they stand.  Of the others the whole line must be accepted (verbs, options, values, suites),
Snakemake's as a dry run; some other test must run the verb, with each option that the page names; and the page says so.
"""

from __future__ import annotations

import ast
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
BENCH = typer.main.get_command(app)  # built once: it takes longer than a look at all pages
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
    command, name = BENCH, "bench"
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


def verb(given: list[str]) -> list[str]:
    """Return the words that name a verb: `data build`, `models check`, `models` alone, `train`."""
    command, found = BENCH, []
    for word in given:
        if not isinstance(command, typer.core.TyperGroup) or word not in command.commands:
            break
        command = command.commands[word]
        found.append(word)
    return found


def quick(given: list[str]) -> bool:
    return " ".join(verb(given)) in QUICK and "--watch" not in given and "H100" not in given


def alone(given: list[str]) -> bool:
    """Whether a verb is only named, as in "`bench compare` reads ..."."""
    return given == verb(given)


def cases(program: str) -> list[tuple[Path, str]]:
    """Return each different command of a program with the first page that has it."""
    found = {tuple(words(one)): (page, one) for page in reversed(PAGES) for one in commands(page, program)}
    return [*found.values()]


CASES = cases("bench")


@pytest.mark.parametrize(("page", "command"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_bench(page, command, tmp_path, monkeypatch, capsys):
    given = words(command)
    parse(given)
    if quick(given):
        monkeypatch.chdir(ROOT)
        assert main(given) in (0, 1 if given[0] == "doctor" else 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def written() -> list[list[str]]:
    """The command lines in the other tests: lists and tuples of words, arguments of calls, sentences of words."""
    found = []
    files = set((ROOT / "tests").rglob("*.py")) - {Path(__file__).resolve()}
    for tree in (ast.parse(file.read_text(encoding="utf-8")) for file in sorted(files)):
        for node in ast.walk(tree):
            if isinstance(node, ast.List | ast.Tuple | ast.Call):
                parts = node.args if isinstance(node, ast.Call) else node.elts
                line = [
                    one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                line = node.value.split()
            else:
                continue
            found.append(line[1:] if line[:1] == ["bench"] else line)
    return found


@pytest.mark.parametrize(("page", "command"), CASES, ids=lambda value: getattr(value, "stem", value))
def test_some_test_runs_it(page, command, written):
    given = words(command)
    if quick(given):
        return
    wanted = verb(given)
    assert any(line[: len(wanted)] == wanted for line in written), f"no test runs {wanted}"
    known = {word.split("=")[0] for line in written for word in line}
    for option in (word.split("=")[0] for word in given if word.startswith("--")):
        assert option in known, f"no test gives {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_says_what_is_not_run_as_it_stands(page):
    text = " ".join(page.read_text(encoding="utf-8").split())
    longer = [one for one in commands(page, "bench") if not quick(words(one)) and not alone(words(one))]
    if longer + commands(page, "snakemake"):
        assert INSTEAD in text, longer
    for command, reason in NOT_RUN.items():
        if command in text:
            assert reason in text, f"{page.name} does not say why no test runs `{command}`"


INSTEAD = "Tests run the commands on this page, the long ones with a small suite instead of the one named"
# Other programs' commands: what a page must say of those that no test runs
NOT_RUN = {
    "pip install": "install nothing",
    "PIP_EXTRA_INDEX_URL": "install nothing",
    "make demo": "stand-ins",
    "campaign.py --faults": "run by hand",
    "BENCH_SLOW=1": "run by hand",
    "scontrol requeue": "one-node Slurm",
    "sbatch --test-only": "one-node Slurm",
}
# ... and the test file that runs the others
RUN = {"submitit.history": "tests/slurm/test_slurm.py", "benchmarks/": "tests/benchmarks/test_start.py"}
RUN |= {"simulation.py": "tests/results/test_statistics.py"}


def other_commands(page: Path) -> list[str]:
    """Return the commands of a page that are neither of bench nor of Snakemake."""
    programs = (
        "make|pip|python|git|sbatch|scontrol|BENCH_SLOW=1|PIP_EXTRA_INDEX_URL=|tests/slurm/|conda|mkdocs"
    )
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"`((?:{programs})[^`\n]* [^`\n]+)`", text)
    found += re.findall(rf"^ {{4,}}((?:{programs})\S* .*)$", text, re.M)
    return [" ".join(re.split(r"\s{{2,}}#", one)[0].split()) for one in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_other_command_is_run_or_listed(page):
    for command in other_commands(page):
        listed = any(key in command for key in (*NOT_RUN, *RUN))
        assert listed or command.split()[0] == "make", f"{page.name}: {command}"


RULES = "demo|test|site|bench|setup|unlock|clean|lint"
MADE = sorted({rule for page in PAGES for rule in re.findall(rf"\bmake ({RULES})\b", page.read_text())})


@pytest.mark.parametrize("rule", MADE)
def test_make(rule, tmp_path):
    """With stand-ins for the programs of an environment, which a first call would install."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path)
    for folder in ("benchmarks", "workflow"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "snakemake", "bench", "mkdocs"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / "folder").write_text(f"{tmp_path.resolve()}\n")
    done = subprocess.run(["make", "-s", rule], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = {"demo": "snakemake --cores 2 all", "test": "python -m pytest", "site": "mkdocs build"}
    wanted |= {"bench": "python benchmarks/steps.py", "unlock": "python workflow/unlock.py"}
    assert wanted.get(rule, "") in done.stdout


def test_runs_are_watched(monkeypatch, capsys):
    """`--watch` looks again until it is interrupted, as by Ctrl-C here."""

    def interrupt(seconds: float) -> None:
        assert seconds == 60
        raise KeyboardInterrupt

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("time.sleep", interrupt)
    main(["runs", "--suite", "demo", "--watch", "60"])
    assert "disks-16.unet-t16.n10.s0" in capsys.readouterr().out


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


PLANNED = [(page, one) for page, one in cases("snakemake") if "--report" not in one]


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
