"""How well the deferral score ranks queries, by training objective."""

from collections.abc import Callable

import numpy as np
from matplotlib.patches import Patch

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.plots import chance
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source

PANELS: tuple[tuple[str, Callable[[Cell], float]], ...] = (
    ("small model right", lambda cell: cell.auroc_right),
    ("only large model right", lambda cell: cell.auroc_useful),
)
CHANCE, SHADE = 0.5, next(iter(chance.SHADES.values()))


def draw(source: Source):
    numbers, run = source.numbers, source.run
    figure, axes = style.canvas(1, 2, height=0.85 + 0.2 * len(run.methods), sharey=True)
    for panel, (title, area) in zip(axes[0], PANELS, strict=True):
        for y, (method, look) in enumerate(style.looks(run.methods).items()):
            by_task = [_mean(numbers, method, name, area) for name in run.covered]
            dots = {"color": look["color"], "linestyle": "", "alpha": 0.35, "markeredgewidth": 0}
            panel.plot(by_task, [y] * len(by_task), marker="o", markersize=3.5, **dots)
            mean = np.mean([value for value in by_task if not np.isnan(value)] or [np.nan])
            fill = {"markerfacecolor": "white"} if mean <= CHANCE else {}
            panel.plot([mean], [y], **look | {"linestyle": "", "markersize": 6} | fill)
        low, high = panel.get_xlim()
        low = min(low, CHANCE - 0.08 * (high - low))
        panel.axvspan(low, CHANCE, facecolor=SHADE, edgecolor="none", zorder=0.1)
        panel.axvline(CHANCE, color=style.GREY, linewidth=0.8, linestyle="--")
        panel.set_xlim(low, high)
        panel.set(title=title, xlabel="AUROC")
        panel.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(run.methods)), run.methods)
    axes[0, 0].set_ylim(len(run.methods) - 0.5, -0.5)
    style.legend(figure, axes[0, 0], further=([Patch(facecolor=SHADE)], ["below chance"]))
    return figure


def _mean(numbers, method: str, task: str, area) -> float:
    """Over the seeds for which it is defined; NaN when it is for none."""
    cells = [numbers.cells.get((method, seed, task)) for seed in numbers.run.seeds]
    values = [value for cell in cells if cell and not np.isnan(value := area(cell))]
    return float(np.mean(values)) if values else float("nan")


FIGURE = Figure(
    name="auroc",
    caption="AUROC of the deferral score, by training objective. Left: a query that the small model answers right "
    "scores above one that it does not. Right: a query that only the large model answers right scores below one where "
    "deferring gains nothing. Small dots are tasks (means over seeds), large marks their mean over the tasks where it "
    "is defined, hollow where that is not above chance, 0.5. Graded quality counts as right above the task's median "
    "over all small models.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
)
