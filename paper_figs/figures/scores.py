"""The deferral score of right and wrong answers, and whether it means what it says."""

import math

import numpy as np

from benchmarks.report.plots import chance
from cat_keras.evaluation import confidence
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source

BINS = np.linspace(0, 1, 26)
RELIABILITY_BINS = 10
ACROSS = 5  # methods side by side


def draw(source: Source):
    run, numbers = source.run, source.numbers
    tasks = tuple(name for name in run.covered if run.bars.get(name) == 0.5) or run.covered
    looks, level = style.looks(run.methods), chance.of_tasks(run, tasks)
    across = min(ACROSS, len(looks))
    lines = math.ceil(len(looks) / across)
    figure, axes = style.canvas(2 * lines, across, width=style.PAGE, height=3.1 * lines, sharex=True, sharey="row")
    pairs = [(axes[2 * i, j], axes[2 * i + 1, j]) for i in range(lines) for j in range(across)]
    for panel in sum(pairs[len(looks) :], ()):
        panel.remove()
    for (above, below), (method, look) in zip(pairs, looks.items(), strict=False):
        above.set_title(method)
        below.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
        below.set_box_aspect(1)
        cells = [cell for (m, _, name), cell in numbers.cells.items() if m == method and name in tasks]
        if not cells:
            continue
        sure, right = (np.concatenate(parts) for parts in zip(*(_sure_and_right(c, run) for c in cells), strict=True))
        _histogram(above, sure, right, look["color"])
        bins = confidence.reliability(sure, right, RELIABILITY_BINS)
        filled = bins.count > 0
        below.plot(bins.confidence[filled], bins.accuracy[filled], **look | {"markersize": 3})
        aurocs = [cell.auroc_right for cell in cells if not np.isnan(cell.auroc_right)]
        ranking = f"\nAUROC {np.mean(aurocs):.2f}" if aurocs else ""
        below.text(0.04, 0.97, f"ECE {confidence.ece(sure, right):.2f}{ranking}", transform=below.transAxes, va="top")
    for _, below in pairs[: len(looks)]:
        below.set_ylim(-0.05, 1.05)
        chance.shade(below, level, scale=1)
    for i in range(lines):
        axes[2 * i, 0].set_ylabel(f"answers (%), {len(tasks)} tasks")
        axes[2 * i + 1, 0].set_ylabel("share right")
    figure.supxlabel("probability per token of the answer, geometric mean", fontsize=style.SMALL)
    axes[0, 0].legend(loc="upper left", handlelength=1)
    return figure


def _sure_and_right(cell, run) -> tuple[np.ndarray, np.ndarray]:
    """Confidence, in [0, 1], and whether the answer is right, of each example."""
    score = cell.outcomes(run.rule).score
    sure = np.exp(np.minimum(score, 0)) if run.rule.startswith("chow") else score
    return np.clip(sure, 0, 1), cell.small["quality"] > run.bars[cell.task]


def _histogram(panel, sure, right, color):
    share = np.full(len(sure), 100 / len(sure))
    heights = [np.histogram(sure[side], BINS, weights=share[side])[0] for side in (right, ~right)]
    panel.stairs(heights[0], BINS, fill=True, color=color, alpha=0.35, label="right")
    panel.stairs(heights[1], BINS, color="black", linewidth=1, label="wrong")


FIGURE = Figure(
    name="scores",
    caption="Above: the deferral score of right (filled) and wrong (line) answers of the small model, by training "
    "objective, as a probability per token. Below: the share of right answers by that probability, in ten bins; on the "
    "dashed line a confidence means what it says. Shaded, where half of the tasks or more have options: up to what any "
    "option, or always the most frequent one, would get right, mean over tasks. ECE: expected calibration error, "
    "15 bins. AUROC: probability that a right answer scores above a wrong one of its task, mean over tasks and seeds; "
    "0.50 is chance. Examples of all tasks and seeds pooled; where there are any, tasks whose answers are right or "
    "wrong, and no others.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
)
