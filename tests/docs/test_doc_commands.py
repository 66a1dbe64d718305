"""Commands that the documentation names exist: verbs, suites after --suite or suite=, and options of each verb."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from bench.cli import VERBS, _parser
from bench.suite import config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
PLACEHOLDERS = {"SUITE", "X", "NAME"}


def commands(text: str) -> list[str]:
    """Return what stands behind `bench` in code: between backticks, or in an indented or fenced line."""
    inline = re.findall(r"`(?:\.venv/bin/)?bench ([^`]*)`", text)
    lines = re.findall(r"^(?: {4,}|until |)(?:\.venv/bin/)?bench ([a-z].*)$", text, re.M)
    return [*inline, *(re.split(r"\s{2,}#|;", line)[0] for line in lines)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands(page):
    for command in commands(page.read_text(encoding="utf-8")):
        verb = command.split()[0]
        if not verb.islower() or not verb.isalpha():
            continue  # `bench VERB`, `bench/...`
        assert verb in VERBS, f"{page.name}: bench {command}"
        module = importlib.import_module(VERBS[verb][0])
        assert verb in module.VERBS, f"{page.name}: bench {command}"
        help_text = _help([verb, *command.split()[1:2]])
        for option in re.findall(r"(?<!\S)--[a-z-]+", command):
            assert option in help_text, f"{page.name}: bench {command}"


def _help(words: list[str]) -> str:
    """Return the help of a verb, and of its action where it has some."""
    import contextlib
    import io

    texts = []
    for asked in ([words[0]], words):
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            contextlib.suppress(SystemExit),
        ):
            _parser([*asked, "--help"]).parse_args([*asked, "--help"])
        texts.append(out.getvalue())
    return "\n".join(texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_suites(page):
    known = {path.stem for path in (config.folder() / "suites").glob("*.yaml")} | PLACEHOLDERS
    text = page.read_text(encoding="utf-8")
    for suite in re.findall(r"(?:--suite |suite=)([A-Za-z]\w*)", text):
        assert suite in known, f"{page.name}: suite {suite}"
