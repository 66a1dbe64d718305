"""Any text as LaTeX, HTML, Markdown or reStructuredText that shows it verbatim: every name is escaped here."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from pathlib import Path

SCRIPT = Path(__file__).with_name("sort.js")
_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1em;color:#222;background:#fff}table{border-collapse:collapse}"
    "th,td{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{border-bottom:2px solid #444;white-space:nowrap}"
    'th[aria-sort="ascending"]::after{content:" \\25B2"}th[aria-sort="descending"]::after{content:" \\25BC"}'
    "p{max-width:60em}"
)
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}", '"': "''",
    ">": r"\textgreater{}", "[": "{[}", "]": "{]}", "\u00a0": "~", "–": "--", "’": "'", "`": r"\textasciigrave{}",
}  # fmt: skip
_LATEX |= {
    letter: rf"\ensuremath{{{command}}}"
    for letter, command in {
        "†": r"\dagger", "‡": r"\ddagger", "−": "-", "→": r"\to", "←": r"\leftarrow", "↑": r"\uparrow", "·": r"\cdot",
        "↓": r"\downarrow", "↗": r"\nearrow", "↘": r"\searrow", "✗": r"\times", "×": r"\times", "±": r"\pm",
        "≤": r"\le", "≥": r"\ge", "Δ": r"\Delta", "λ": r"\lambda", "α": r"\alpha", "σ": r"\sigma", "ε": r"\epsilon",
        "²": "^2", "³": "^3", "°": r"^\circ",
    }.items()
}  # fmt: skip
_MARKDOWN = frozenset("\\`*_[]<>|~")
_RST = frozenset("\\*`|_")


def latex(text: object) -> str:
    """Return text that LaTeX sets verbatim, without any package."""
    return "".join(map(_latex_letter, str(text)))


def _latex_letter(letter: str) -> str:
    if letter in _LATEX or " " <= letter <= "~" or letter.isspace():
        return _LATEX.get(letter, " " if letter.isspace() else letter)
    if "À" <= letter <= "ÿ" and letter.isalpha() and letter not in "ÐÞðþ":
        return letter  # known to LaTeX as UTF-8, in its default encoding
    if (plain := unicodedata.normalize("NFKD", letter)[0]) != letter and " " < plain <= "~":
        return latex(plain)
    return "" if unicodedata.combining(letter) else f"U+{ord(letter):04X}"


def markdown(text: object) -> str:
    """Return text for a line or a cell of Markdown."""
    return " ".join("".join(f"\\{c}" if c in _MARKDOWN else c for c in str(text)).split("\n"))


def markdown_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    heads = [*heads]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def restructured(text: str) -> str:
    """Return text for a paragraph of reStructuredText: captions of the Snakemake report."""
    return "".join(f"\\{letter}" if letter in _RST else letter for letter in text) + "\n"


def escaped(text: object) -> str:
    """Return text for HTML, inside an attribute too."""
    return html.escape(str(text))


def html_table(heads: list[str], rows: list[list[str]], bold: set[tuple[int, int]]) -> str:
    """Return ``<table>`` with cells of text, those at ``bold`` (row, column) in bold."""
    lines = [
        "<table>\n<thead><tr>" + "".join(f"<th>{escaped(head)}</th>" for head in heads) + "</tr></thead>",
        "<tbody>",
    ]
    for i, row in enumerate(rows):
        cells = (f"<b>{escaped(c)}</b>" if (i, j) in bold else escaped(c) for j, c in enumerate(row))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


def html_page(title: str, content: str, caption: str) -> str:
    """Return a page that needs nothing else: style and sorting are inside."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{content}\n<p>{escaped(caption)}</p>\n"
        f"<script>\n{SCRIPT.read_text(encoding='utf-8')}</script>\n</body></html>\n"
    )
