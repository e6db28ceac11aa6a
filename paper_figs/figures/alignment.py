"""Bias–variance alignment: how far trainings disagree about an answer, by how far they are off together."""

import math

import numpy as np

from benchmarks.report.numbers import alignment
from cat_keras.evaluation.alignment import Decomposition, Line
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source

COLUMNS = 3
SHOWN = 60  # examples of each kind that a panel shows


def draw(source: Source):
    aligned, looks = source.aligned, style.looks(source.run.methods)
    columns = min(COLUMNS, max(len(aligned), 1))
    rows = max(math.ceil(len(aligned) / columns), 1)
    size = {"width": style.PAGE if columns > 2 else style.COLUMN, "height": 0.7 + 1.6 * rows}
    figure, axes = style.canvas(rows, columns, sharex=True, sharey=True, **size)
    for panel, (method, numbers) in zip(axes.flat, aligned.items(), strict=False):
        whole = Decomposition(*map(np.concatenate, zip(*numbers.parts, strict=True)))
        wrong = {"color": style.GREY, "marker": "o", "markerfacecolor": "none", "label": "wrong"}
        right = {"color": looks[method]["color"], "marker": ".", "label": "right"}
        _points(panel, whole, ~whole.right, wrong)
        _points(panel, whole, whole.right, right)
        _line(panel, numbers.right)
        panel.set(xscale="log", yscale="log")
        panel.minorticks_off()
        panel.set_title(f"{method}: slope {numbers.right.slope:.2f}, r² {numbers.right.r2:.2f}", loc="left")
    if not aligned:
        axes[0, 0].text(0.5, 0.5, "no task with right options", transform=axes[0, 0].transAxes, ha="center")
        return figure
    for panel in axes.flat[len(aligned) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel("variance over seeds")
    for panel in axes.flat[max(len(aligned) - columns, 0) : len(aligned)]:  # the lowest visible one of each column
        panel.set_xlabel("squared bias")
        panel.tick_params(labelbottom=True)
    style.legend(figure, axes[0, 0])
    return figure


def _points(panel, whole: Decomposition, chosen: np.ndarray, look: dict):
    chosen = np.flatnonzero(chosen & (whole.bias > 0) & (whole.variance > 0))
    if len(chosen) > SHOWN:
        chosen = np.random.default_rng(0).choice(chosen, SHOWN, replace=False)
    panel.plot(
        whole.bias[chosen], whole.variance[chosen], linestyle="", markersize=2.5, markeredgewidth=0.5, alpha=0.6, **look
    )


def _line(panel, line: Line):
    if not math.isnan(line.slope):
        drawn = panel.get_lines()[-1].get_xdata()  # the right ones
        x = np.array([min(drawn), max(drawn)])
        panel.plot(x, np.exp(line.intercept) * x**line.slope, color="black", linewidth=0.8, label="line of right ones")


FIGURE = Figure(
    name="alignment",
    caption="Bias–variance alignment (arXiv 2310.09250) on the classification tasks: each point is a test example; "
    "variance of the small model's probabilities over the trainings against their squared bias, for examples that the "
    "mean of the trainings answers right (filled) and wrong (hollow), up to 60 of each. Line: least squares through "
    "all right ones, of the logarithms; a slope near 1 with a high r² says that the trainings disagree where they are "
    "off together, so that their disagreement says how sure an answer is.",
    pick=alone(lambda source: len(source.manifest.get("seeds", ())) >= alignment.SEEDS),
    draw=draw,
    wants="predictions of five seeds or more on classification tasks: `python -m benchmarks run embedded --seeds 5`",
)
