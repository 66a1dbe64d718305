"""A table with computed bold and signs, as CSV, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bench.report.html import page, table
from bench.support.files import write_text


@dataclass
class Table:
    """``frame`` holds the cells as readers see them; ``numbers`` the same cells as plain values (CSV);
    ``bold`` the (row, column) positions of the better ones."""

    frame: pd.DataFrame
    numbers: pd.DataFrame
    caption: str
    bold: set[tuple[int, int]] = field(default_factory=set)
    columns: str | None = None  # LaTeX column types; None is two of text, the others numbers

    def markdown(self) -> str:
        """Return the table in Markdown with its caption under it."""
        lines = ["| " + " | ".join(map(str, self.frame.columns)) + " |", "|" + " --- |" * self.frame.shape[1]]
        for i, row in enumerate(self.frame.itertuples(index=False)):
            cells = [f"**{c}**" if (i, j) in self.bold else str(c) for j, c in enumerate(row)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", self.caption, ""])

    def latex(self) -> str:
        """Return a booktabs table with its caption."""
        columns = self.columns or "l" * 2 + "r" * (self.frame.shape[1] - 2)
        lines = [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_escape(self.caption)}}}",
        ]
        lines.append(rf"\begin{{tabular}}{{{columns}}}")
        lines += [r"\toprule", " & ".join(map(_escape, self.frame.columns)) + r" \\", r"\midrule"]
        for i, row in enumerate(self.frame.itertuples(index=False)):
            cells = [
                rf"\textbf{{{_escape(c)}}}" if (i, j) in self.bold else _escape(c) for j, c in enumerate(row)
            ]
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])

    def write(self, stem: str) -> None:
        """Write STEM.csv, STEM.md, STEM.tex and STEM.html."""
        write_text(f"{stem}.csv", self.numbers.to_csv(index=False))
        write_text(f"{stem}.md", self.markdown())
        write_text(f"{stem}.tex", self.latex())
        write_text(f"{stem}.html", page(Path(stem).name, table(self.frame, self.bold), self.caption))


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "é": r"\'e", "†": r"$\dagger$", "−": "$-$", "→": r"$\to$",
    "Δ": r"$\Delta$", "λ": r"$\lambda$", "α": r"$\alpha$", "≤": r"$\le$", "≥": r"$\ge$", "×": r"$\times$",
    "±": r"$\pm$", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def _escape(text: object) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in str(text))
