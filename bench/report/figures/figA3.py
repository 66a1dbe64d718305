"""Figure A3: the same network's Jacobian as noise prediction, as x0 estimate, and as denoiser."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, curve, jacobian, level, name_columns, paper_step
from bench.report.items import Item
from bench.report.papers.an2024.fig3 import LOOKS
from bench.report.style import count, legend, new_figure

ITEM = Item(
    title="Figure A3",
    subject="Noise prediction against image estimate: Jacobians of one network",
    measures=("jacobian",),
)

MOST = 4  # models side by side


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model and a row for the smallest and the largest N, on the first dataset."""
    rows = jacobian(context, every=True)
    operators = [name for name in OPERATORS if name in set(rows["operator"])]
    if len(operators) < 2:
        raise context.needs(
            "the Jacobians of two operators", instead="set `measure: {jacobian: {operators: [eps, x0]}}`"
        )
    dataset = context.ordered(rows, "dataset")[0]
    rows = rows[rows["dataset"] == dataset]
    rows = rows[rows["step"] == paper_step(rows["step"])]
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    sizes = sorted({sizes[0], sizes[-1]})
    figure = new_figure(1.5 * len(sizes) + 0.35)
    axes = figure.subplots(len(sizes), len(models), squeeze=False, sharex=True, sharey=True)
    for line, size in zip(axes, sizes):
        for ax, model in zip(line, models):
            here = rows[(rows["model"] == model) & (rows["train_size"] == size)]
            for operator in operators:
                own = here[here["operator"] == operator]
                if len(own):
                    own = own.assign(value=own["value"] / own["value"].abs().max())
                    curve(ax, own, "index", OPERATORS[operator], LOOKS[operator], LOOKS[operator])
        line[0].set_ylabel(f"N = {count(size)}\n" + r"$\lambda_k\,/\,\max|\lambda|$")
    name_columns(context, axes, models, "k")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}, {level(rows)}: eigenvalues of the symmetric part of one network's "
        "Jacobian, read as noise prediction and as image estimate, "
        "each divided by its largest. The two are affine in each other with a negative slope: what "
        "leads the one trails the other, so a spectrum says nothing until it is said whose it is. "
        f"The paper does not say. {context.scope}"
    )
