"""Noise prediction against x0 estimate: Jacobians of one network.

The two are affine in each other with a negative slope: the leading eigenvectors of one are the trailing ones of the
other, so a spectrum is meaningless unless it says which of the two it belongs to. An et al. 2024 do not say.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import LOOKS, MOST, OPERATORS, Line, Panel, at_shown_step, grid, jacobian, level
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A3", measures=("jacobian",))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model and a row for the smallest and the largest N, on the first dataset."""
    rows = jacobian(context, every=True)
    operators = [name for name in OPERATORS if name in {*rows["operator"]}]
    if len(operators) < 2:
        how = "set `measure: {jacobian: {operators: [eps, x0]}}`"
        raise context.needs("the Jacobians of two operators", instead=how)
    dataset = context.ordered(rows, "dataset")[0]
    rows = at_shown_step(at(rows, dataset=dataset))
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    panels: list[Panel] = []
    for n in sorted({sizes[0], sizes[-1]}):
        for model in models:
            panel = Panel(
                "" if panels[len(models) - 1 :] else context.label(model), f"{size(n)}\nλₖ / max |λ|"
            )
            for operator in operators:
                own = at(rows, model=model, train_size=n, operator=operator)
                scaled = own.assign(value=own["value"] / own["value"].abs().max())
                panel.lines.append(Line(scaled, OPERATORS[operator], LOOKS[operator], LOOKS[operator]))
            panels.append(panel)
    figure, _ = grid(panels, len(models), 1.5, "k", share="all")
    leading = at(rows, index=0).groupby("operator")["value"].mean()
    words = " and ".join(f"{leading[name]:.2f} for the {OPERATORS[name]}" for name in operators)
    return figure, (
        f"{context.title(dataset)}, {level(rows)}: eigenvalues of the symmetric part of one network's Jacobian, "
        "read as noise prediction and as x0 estimate, each divided by its largest. The mean leading eigenvalue "
        f"is {words}."
    )
