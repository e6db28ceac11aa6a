"""What an answer is worth that was given without reading the question, and how plots show it.

Plots shade the values up to chance, and draw the mark of a value hollow whose interval reaches down into the shade.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks import metrics
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.plots.palette import GREY
from benchmarks.report.reading.load import Run
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.evaluation.bands import GRID, Band

QUARTERS = range(0, len(GRID), 25)  # points of a curve that have a mark
SHADES = {"up to chance (any option)": "#e3ded3", "up to the most frequent answer": "#f3f0ea"}
ABOVE, MAJORITY, AT, BELOW = "", "at the most frequent answer", "at chance", "below chance"
REACH = 0.45  # of a panel's height: levels further below its values than this are named, and not drawn


@dataclass(frozen=True)
class Level:
    """Mean quality, in [0, 1], of two ways to answer without reading the question.

    Attributes:
        uniform: any option, each as likely as the others. constant: one and the same option always, the best of them;
            at least `uniform`.
    """

    uniform: float
    constant: float

    def verdict(self, low: float, high: float) -> str:
        """What an interval of qualities says: `ABOVE` both levels, or which one it does not exceed."""
        if high < self.uniform:
            return BELOW
        if low <= self.uniform:
            return AT
        return MAJORITY if low <= self.constant else ABOVE


def of_task(run: Run, name: str) -> Level | None:
    """The level of a classification task; None for generation, and where kept results do not tell.

    Answers that are right or wrong are right with one over the number of options. Graded ones are worth what the
    task's metric gives each of its options, taking the target for the reference.
    """
    if name not in run.choice_tasks():
        return None
    answers = run.answers.get(name)
    if np.isin(run.large[name]["quality"], (0, 1)).all():
        uniform = float(np.mean([1 / len(example.options) for example in run.examples[name]]))
        constant = uniform if answers is None else float(np.bincount(answers).max() / len(answers))
        return Level(uniform, max(uniform, constant))
    options = task.get(name).options
    if answers is None or not options:
        return None
    judge = metrics.of(task.get(name)).per_example
    targets = [Example("", "", target, name, options, references=(target,)) for target in options]
    worth = np.array([[judge(option, example) for example in targets] for option in options])[:, answers]
    return Level(float(worth.mean()), float(worth.mean(axis=1).max()))


def of_tasks(run: Run, tasks: Sequence[str]) -> Level | None:
    """The mean level of tasks, in which those without options count 0; None where these are more than half."""
    levels = [level for name in tasks if (level := of_task(run, name))]
    if not levels or 2 * len(levels) < len(tasks):
        return None
    return Level(
        sum(level.uniform for level in levels) / len(tasks), sum(level.constant for level in levels) / len(tasks)
    )


def verdict(summary: Summary, tasks: Sequence[str], scope: str) -> str:
    """What to say of tasks on which neither the baseline's small model nor the large one exceeds chance.

    Args:
        scope: the tasks' name in `Summary.bands`.
    """
    level, band = of_tasks(summary.run, tasks), summary.bands().get(scope, {}).get(summary.baseline)
    if level is None or band is None:
        return ABOVE
    ends = [level.verdict(band.low[i], band.high[i]) for i in (0, -1)]  # all by the small model, all by the large one
    return min(ends, key=(ABOVE, MAJORITY, AT, BELOW).index)


def hollow(level: Level | None, band: Band | None) -> list[int]:
    """Which of `QUARTERS` have an interval that is not above chance; none where either is unknown."""
    if level is None or band is None:
        return []
    return [i for i in QUARTERS if level.verdict(band.low[i], band.high[i]) != ABOVE]


def curve(axes: Axes, x, y, look: dict, unsure: Sequence[int], **label):
    """A curve on `GRID` with marks at `QUARTERS`, hollow where `unsure`."""
    axes.plot(x, y, markevery=[i for i in QUARTERS if i not in unsure], **look, **label)
    if unsure:
        marks = {"linestyle": "", "markerfacecolor": "white", "zorder": 2.1}
        axes.plot(np.asarray(x)[list(unsure)], np.asarray(y)[list(unsure)], **look | marks)


def shade(axes: Axes, level: Level | None, scale: float = 100) -> bool:
    """Shades the values up to chance behind what is drawn already; only names the level where it is far below.

    Returns:
        Whether there is a shade, which a legend must explain.
    """
    if level is None:
        return False
    low, high = axes.get_ylim()
    span, uniform, constant = high - low, scale * level.uniform, scale * level.constant
    if uniform < low - REACH * span:
        text = {"ha": "right", "va": "bottom", "fontsize": "small", "color": GREY, "transform": axes.transAxes}
        axes.text(0.98, 0.02, f"↓ chance {uniform:.0f}", **text)
    else:
        low = min(low, uniform - 0.07 * span)
    if constant > low:
        high = max(high, constant + 0.03 * span)
    for bottom, top, colour in zip((low, uniform), (uniform, constant), SHADES.values(), strict=True):
        if top > max(bottom, low):
            axes.axhspan(max(bottom, low), top, facecolor=colour, edgecolor="none", zorder=0.1)
    axes.set_ylim(low, high)
    return constant > low


def key() -> tuple[list, list[str]]:
    """Handles and labels for the legend of a figure with shaded panels."""
    handles = [Patch(facecolor=colour) for colour in SHADES.values()]
    handles.append(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle=""))
    return handles, [*SHADES, "not above these (95 %)"]
