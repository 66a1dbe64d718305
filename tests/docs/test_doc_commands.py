"""Commands that the documentation names exist: verbs, suites after --suite or suite=, and options of each verb."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from bench.cli import main
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
        words = command.split()
        if not words[0].islower() or not words[0].isalpha():
            continue  # `bench VERB`, `bench/...`
        help_text = _help(words)
        assert help_text, f"{page.name}: bench {command}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", command):
            assert option in help_text, f"{page.name}: bench {command}"


def _help(words: list[str]) -> str:
    """Return the help of a verb, and of its action where it has some; empty where there is no such verb."""
    texts = []
    for asked in {(words[0],), tuple(word for word in words[:2] if not word.startswith("-"))}:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if main([*asked, "--help"]) == 0:
                texts.append(out.getvalue())
    return "\n".join(texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_suites(page):
    known = set(config.suites()) | PLACEHOLDERS
    text = page.read_text(encoding="utf-8")
    for suite in re.findall(r"(?:--suite |suite=)([A-Za-z]\w*)", text):
        assert suite in known, f"{page.name}: suite {suite}"
