"""A table with computed bold and signs, as CSV, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bench.report.markup import html_page, html_table, latex, markdown, markdown_table
from bench.support.files import write_text

TEXT_WIDTH = 397.0  # points: 5.5 inches, the text width of NeurIPS
LONG = 40  # lines, from which a LaTeX table may break over pages
WIDEST = 26  # characters of a cell, from which its column may break lines
# LaTeX size -> points of an em; each is tried before the next
SIZES = {r"\footnotesize": 8.5, r"\scriptsize": 8.0, r"\tiny": 6.6}
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|[]! "), frozenset("mwMWGOQ→−+±%†✗↗")


@dataclass
class Table:
    """``frame`` holds the cells as readers see them; ``numbers`` the same cells as plain values (CSV); ``bold`` the
    (row, column) positions of the better ones. In LaTeX the first ``groups`` columns become headings of their rows."""

    frame: pd.DataFrame
    numbers: pd.DataFrame
    caption: str
    bold: set[tuple[int, int]] = field(default_factory=set)
    groups: int = 0

    @property
    def heads(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame.columns]

    @property
    def cells(self) -> list[list[str]]:
        """Rows of text."""
        return [[str(cell) for cell in row] for row in self.frame.itertuples(index=False)]

    def markdown(self) -> str:
        """Return the table in Markdown with its caption under it."""
        rows = [
            [f"**{markdown(c)}**" if (i, j) in self.bold and c else markdown(c) for j, c in enumerate(row)]
            for i, row in enumerate(self.cells)
        ]
        return f"{markdown_table(map(markdown, self.heads), rows)}\n\n{markdown(self.caption)}\n"

    def latex(self) -> str:
        """Return a booktabs table, at most 5.5 inches wide; a long one breaks over pages (longtable)."""
        own = self.groups if len(self.frame) else 0
        heads, rows = self.heads[own:], [row[own:] for row in self.cells]
        size, gap, columns = _fit([heads, *rows])
        em, widths = SIZES[size], [width for _, width in columns]
        head = " & ".join(_header(text, width, em) for text, width in zip(heads, widths)) + r" \\"
        kinds = "@{}" + "".join(kind for kind, _ in columns) + "@{}"
        caption = rf"\caption{{{latex(self.caption)}}}"
        style = rf"\setlength{{\tabcolsep}}{{{gap:g}pt}}"
        long = sum(max(_ems(c) * em // width + 1 for c, width in zip(row, widths)) for row in rows) > LONG
        body = [*self._latex_rows(own, len(columns)), r"\bottomrule"]
        rules = [r"\toprule", head, r"\midrule"]
        if long:
            begin = [
                rf"\begingroup{size}{style}",
                rf"\begin{{longtable}}{{{kinds}}}",
                caption + r"\\",
                *rules,
            ]
            return "\n".join([*begin, r"\endhead", *body, r"\end{longtable}", r"\endgroup", ""])
        begin = [
            r"\begin{table}",
            rf"\centering{size}{style}",
            caption,
            rf"\begin{{tabular}}{{{kinds}}}",
            *rules,
        ]
        return "\n".join([*begin, *body, r"\end{tabular}", r"\end{table}", ""])

    def _latex_rows(self, own: int, width: int) -> list[str]:
        lines, before = [], None
        for i, row in enumerate(self.cells):
            if own and row[:own] != before:
                before = row[:own]
                lines += [r"\midrule"] if i else []
                named = (
                    f"N = {cell}" if head == "N" else cell for head, cell in zip(self.heads, before) if cell
                )
                title = latex(", ".join(named))
                lines.append(rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\emph{{{title}}}}} \\*")
            cells = [(latex(_glued(c)), (i, j) in self.bold) for j, c in enumerate(row) if j >= own]
            lines.append(" & ".join(rf"\textbf{{{c}}}" if bold and c else c for c, bold in cells) + r" \\")
        return lines

    def html(self) -> str:
        """Return ``<table>``."""
        return html_table(self.heads, self.cells, self.bold)

    def write(self, stem: str) -> None:
        """Write STEM.csv, STEM.md, STEM.tex and STEM.html."""
        write_text(f"{stem}.csv", self.numbers.to_csv(index=False))
        write_text(f"{stem}.md", self.markdown())
        write_text(f"{stem}.tex", self.latex())
        write_text(f"{stem}.html", html_page(Path(stem).name, self.html(), self.caption))


def _ems(text: str) -> float:
    """Return the width of text in ems of Computer Modern, rather too wide than too narrow."""
    return sum(0.32 if c in _NARROW else 0.86 if c in _WIDE else 0.7 if c.isupper() else 0.54 for c in text)


def _glued(cell: str) -> str:
    """Return a cell in which an interval like [1, 2] does not break."""
    return cell.replace(", −", ",\u00a0−").replace(", +", ",\u00a0+").replace(" ±", "\u00a0±")


def _longest_word(texts: list[str]) -> float:
    return max(_ems(word) for text in texts for word in _glued(text).split(" "))


def _fit(rows: list[list[str]]) -> tuple[str, float, list[tuple[str, float]]]:
    """Return size, column gap and (LaTeX column type, width in points) of each column, to fit the text width.

    Columns of long text break their lines first, then all do; the size falls until the words of all columns fit.
    """
    columns = [list(texts) for texts in zip(*rows, strict=True)]
    for size, em in SIZES.items():
        gap = 3.0 if size == r"\footnotesize" else 2.0
        room = TEXT_WIDTH - 2 * gap * (len(columns) - 1) - 2
        least = [em * max(_longest_word(texts), 1.0) for texts in columns]
        whole = [
            em * max(*(_ems(text) for text in texts[1:]), _longest_word(texts[:1]), 1.0) for texts in columns
        ]
        for breaks in (
            lambda texts: max(map(len, texts[1:])) > WIDEST,
            lambda texts: " " in "".join(texts[1:]),
        ):
            fixed = [not breaks(texts) if len(texts) > 1 else True for texts in columns]
            left = room - sum(w if f else m for w, m, f in zip(whole, least, fixed))
            if left >= 0:
                return size, gap, _share(columns, least, whole, fixed, left)
    return size, gap, _share(columns, least, whole, fixed, 0.0)


def _share(columns: list, least: list, whole: list, fixed: list, left: float) -> list[tuple[str, float]]:
    """Return types and widths: what is left over goes to the columns that break, as far as they can use it."""
    wanted = [0.0 if f else w - m for w, m, f in zip(whole, least, fixed)]
    part = min(1.0, left / sum(wanted)) if sum(wanted) else 0.0
    found = []
    for place, (texts, keep) in enumerate(zip(columns, fixed)):
        width = whole[place] if keep else least[place] + part * wanted[place]
        number = place > 0 and all(not t or t[0] in "0123456789−+<–[" for t in texts[1:])
        kind = ("r" if number else "l") if keep else rf"p{{{width:.0f}pt}}"
        found.append((kind if keep else rf">{{\raggedright\arraybackslash}}{kind}", width))
    return found


def _header(text: str, width: float, em: float) -> str:
    """Return a head that breaks at spaces where it is wider than its column."""
    lines = [""]
    for word in text.split(" "):
        together = f"{lines[-1]} {word}".strip()
        if lines[-1] and _ems(together) * em > width:
            lines.append(word)
        else:
            lines[-1] = together
    body = r"\\".join(map(latex, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}l@{{}}}}{body}\end{{tabular}}" if len(lines) > 1 else body
