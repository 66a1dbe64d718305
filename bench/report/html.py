"""Tables as HTML that a browser sorts, alone in a file (the Snakemake report) or inside a page of the site."""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).with_name("sort.js")
_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1em;color:#222}table{border-collapse:collapse}"
    "th,td{padding:.25em .6em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "th{border-bottom:2px solid #444;white-space:nowrap}"
    'th[aria-sort="ascending"]::after{content:" \\2191"}th[aria-sort="descending"]::after{content:" \\2193"}'
    "p{max-width:60em}"
)


def table(frame: pd.DataFrame, bold: set[tuple[int, int]]) -> str:
    """Return ``<table>`` with the cells of a frame, those at ``bold`` (row, column) in bold."""
    heads = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    lines = [f"<table>\n<thead><tr>{heads}</tr></thead>", "<tbody>"]
    for i, row in enumerate(frame.itertuples(index=False)):
        cells = (html.escape(str(cell)) for cell in row)
        marked = (f"<b>{cell}</b>" if (i, j) in bold else cell for j, cell in enumerate(cells))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in marked) + "</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


def page(title: str, content: str, caption: str) -> str:
    """Return a page that needs nothing else: style and sorting are inside."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{content}\n<p>{html.escape(caption)}</p>\n"
        f"<script>\n{SCRIPT.read_text(encoding='utf-8')}</script>\n</body></html>\n"
    )


def restructured(text: str) -> str:
    """Return plain text as reStructuredText that shows it as it stands, for the captions of the Snakemake report."""
    return "".join(f"\\{letter}" if letter in "\\*`|_" else letter for letter in text) + "\n"
