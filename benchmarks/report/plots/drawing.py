"""The plots of a report: curves over what they cost, scores of right and wrong answers, live tokens in training."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.numbers import costs
from benchmarks.report.numbers.cells import ORACLE, RANDOM
from benchmarks.report.numbers.chains import Chains
from benchmarks.report.numbers.elastic import Dial
from benchmarks.report.numbers.scopes import Curves, Scope
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.plots import aside, canvas, chains, chance, elastic
from benchmarks.report.plots.canvas import STYLE
from benchmarks.report.plots.palette import COLOURS, GREY, MARKERS, looks
from cat_keras.evaluation.bands import GRID

__all__ = ["COLOURS", "GREY", "MARKERS", "STYLE", "TITLES", "files", "looks"]

LARGE = 20_000  # answers of small models, from which on a report gains by a second process that draws
BINS = 24
PER_TOKEN = ("chow-average", "chow-quantile-")  # rules whose score is the log-probability of one token
SURE = (0.0, 1.0)
ALONE = {"linestyle": "", "markersize": 11, "markeredgecolor": "black", "markerfacecolor": "none", "zorder": 5}
RATE_LABEL, QUALITY_LABEL = "queries deferred (%)", "quality × 100"
TITLES = {
    "quality_cost": "Quality by deferral rate and by cost",
    "tasks": "Quality task by task",
    "scores": "Scores of right and of wrong answers",
    "groups": "Quality by suite and cluster",
    "differences": "Quality minus that of the baseline",
    "costs": "Quality by other costs",
    "training": "Live tokens during training",
    "elastic": "Sizes of the elastic small model",
    "chains": "Longer cascades by cost",
}
Training = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def files(
    summary: Summary,
    curves: Curves,
    scopes: list[Scope],
    tasks: list[Scope],
    training: Training,
    longer: Chains | None = None,
    dial: Dial | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> dict[str, bytes]:
    """File name → content of every plot.

    Args:
        summary, curves: numbers of the run. scopes: averages, that over all tasks first, then suites and clusters.
        tasks: each task alone. training: method → (steps, share of live tokens). longer: the cascades of all models.
        dial: the sizes of an elastic small model.
        meanwhile: called once, beside the process that draws the plots of a large report.
    """
    with canvas.style():
        figures = {"quality_cost": quality_cost(summary, curves, scopes[0])}
        if tasks:
            figures["tasks"] = panels(summary, curves, tasks, "task by task", bands=False)
            figures["scores"] = scores(summary)
        if tasks and len(summary.run.methods) > 1:
            figures["differences"] = differences(summary, curves, scopes)
        if len(scopes) > 1:
            figures["groups"] = panels(summary, curves, scopes, "by suite and cluster", bands=True)
        other_costs = list(curves.kinds.values())[1:]  # the first is beside the deferral rate
        if other_costs and tasks:
            figures["costs"] = by_cost(summary, curves, scopes[0], other_costs)
        if training:
            figures["training"] = live(summary, training)
        if dial:
            figures["elastic"] = elastic.figure(dial)
        if longer and longer.standings:
            figures["chains"] = chains.figure(summary, longer)
    vector = ("quality_cost", "tasks")
    if sum(len(cell["quality"]) for cell in summary.run.small.values()) < LARGE:
        meanwhile()
        return canvas.rendered(figures, vector)
    later = aside.rendered(figures, vector)
    meanwhile()
    return later.result()


class _Drawing:
    """Draws the curves of one scope on one panel.

    Args:
        curves: of the run. scope: what the curves average over. axes: the panel.
        kind: the cost on the horizontal axis; "" stands for the deferral rate in percent.
        unit_size: what one unit on that axis is worth, for a cost.
    """

    def __init__(self, curves: Curves, scope: Scope, axes: Axes, kind: str = "", unit_size: float = 1.0):
        self.curves, self.scope, self.axes, self.kind, self.unit_size = curves, scope, axes, kind, unit_size
        self.chance, self.shaded = chance.of_tasks(curves.run, scope.tasks), False

    def _x(self, method: str, rule: str = "") -> np.ndarray:
        return self.curves.mean(method, self.scope, self.kind, rule) / self.unit_size if self.kind else 100 * GRID

    def method(self, name: str, look: dict, with_band: bool):
        """The curve of a method; its marks are hollow where it does not exceed chance."""
        quality = self.curves.mean(name, self.scope, "quality")
        if quality is None:
            return
        x = self._x(name)
        band = self.curves.band(name, self.scope) if with_band or self.chance else None
        if band and with_band:
            self.axes.fill_between(x, 100 * band.low, 100 * band.high, color=look["color"], alpha=0.12, linewidth=0)
        label = f"{name} †" if self.curves.incomplete(name, self.scope) else name
        unsure = chance.hollow(self.chance, band)
        chance.curve(self.axes, x, 100 * quality, look | {"markersize": 4}, unsure, label=label)

    def reference(self, method: str, rule: str):
        quality = self.curves.mean(method, self.scope, "quality", rule)
        if quality is not None:
            dash = "--" if rule == RANDOM else ":"
            line = {"color": GREY, "linestyle": dash, "zorder": 1, "label": f"{method}, {rule}"}
            self.axes.plot(self._x(method, rule), 100 * quality, **line)

    def alone(self, method: str):
        """Both models alone as points."""
        quality = self.curves.mean(method, self.scope, "quality")
        large = self.curves.large(self.scope, "quality")
        x = self.curves.large(self.scope, self.kind) / self.unit_size if self.kind else 100
        self.axes.plot([x], [100 * large], marker="*", label="large alone", **ALONE)
        if quality is not None:
            label = f"small alone ({method})"
            self.axes.plot([self._x(method)[0]], [100 * quality[0]], marker="o", label=label, **ALONE)

    def shade(self):
        """The values up to chance. Comes last, as it depends on what the panel shows."""
        self.shaded = chance.shade(self.axes, self.chance)


def _legend(figure: Figure, drawings: Sequence[_Drawing]):
    """The legend of all panels, from the one that has most to say; it explains shades where a panel has them."""
    fullest = max((drawing.axes for drawing in drawings), key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    shaded = any(drawing.shaded for drawing in drawings)
    canvas.legend(figure, fullest, chance.key() if shaded else ((), ()))


def quality_cost(summary: Summary, curves: Curves, scope: Scope) -> Figure:
    """Left the whole picture with its bounds, right the methods alone, close enough to tell them apart."""
    run, kind = summary.run, next(iter(curves.kinds.values()))
    size, unit = kind.unit(curves.large(scope, kind.name))
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    appearance = looks(run.methods)
    drawings = (_Drawing(curves, scope, left), _Drawing(curves, scope, right, kind.name, size))
    for drawing in drawings:
        for name in run.methods:
            drawing.method(name, appearance[name], with_band=True)
        for rule in (RANDOM, ORACLE) if drawing.axes is left else (RANDOM,):
            drawing.reference(summary.baseline, rule)
        if scope.tasks:
            drawing.alone(summary.baseline)
    if run.bayes is not None:
        left.axhline(100 * run.bayes, color=GREY, linestyle="-.", linewidth=1, label="Bayes-optimal")
    left.set(title="Quality by share deferred", xlabel=RATE_LABEL, ylabel=f"{QUALITY_LABEL}, {_average(scope)}")
    right.set(title="Quality by cost (closer)", xlabel=f"{kind.label} ({unit})" if unit else kind.label)
    left.set_xlim(-2, 102)
    right.set_xlim(left=0)
    for drawing in drawings:
        drawing.shade()
    _legend(figure, drawings)
    profile = run.manifest["profile"]
    figure.suptitle(f"{profile}: cascades of a small and a large model, deferral by {run.rule}; {_bands(summary)}")
    return figure


def _average(scope: Scope) -> str:
    count, missing = len(scope.tasks), len(scope.lacks)
    what = f"mean of {count} tasks" if count > 1 else scope.tasks[0] if count else "no task"
    return f"{what} of {count + missing} †" if missing else what


def _bands(summary: Summary) -> str:
    seeds = " and seeds" if len(summary.run.seeds) > 1 else ""
    return f"bands: 95 % intervals over examples{seeds}"


def by_cost(summary: Summary, curves: Curves, scope: Scope, kinds: list[costs.Kind]) -> Figure:
    """One panel per kind of cost: no two kinds share an axis."""
    figure, panels = canvas.grid(len(kinds), 5.2, 3.8)
    appearance, drawings = looks(summary.run.methods), []
    for axes, kind in zip(panels, kinds, strict=True):
        size, unit = kind.unit(curves.large(scope, kind.name))
        drawing = _Drawing(curves, scope, axes, kind.name, size)
        for name in summary.run.methods:
            drawing.method(name, appearance[name], with_band=True)
        drawing.reference(summary.baseline, RANDOM)
        drawing.alone(summary.baseline)
        axes.set(xlabel=f"{kind.label} ({unit})" if unit else kind.label, ylabel=QUALITY_LABEL)
        axes.set_xlim(left=0)
        drawing.shade()
        drawings.append(drawing)
    _legend(figure, drawings)
    figure.suptitle(f"{summary.run.manifest['profile']}: quality by other costs, {_average(scope)}; {_bands(summary)}")
    return figure


def panels(summary: Summary, curves: Curves, scopes: list[Scope], what: str, bands: bool) -> Figure:
    """Small multiples over the deferral rate. Without bands where they would hide the lines."""
    run = summary.run
    figure, axes_of_scopes = canvas.grid(len(scopes), 2.9, 2.4)
    appearance, drawings = looks(run.methods), []
    for axes, scope in zip(axes_of_scopes, scopes, strict=True):
        drawing = _Drawing(curves, scope, axes)
        for name in run.methods:
            drawing.method(name, appearance[name], with_band=bands)
        drawing.reference(summary.baseline, RANDOM)
        drawing.shade()
        drawings.append(drawing)
        _title(axes, summary, curves, scope)
    _rate_axes(axes_of_scopes, QUALITY_LABEL)
    _legend(figure, drawings)
    means = f", means of {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
    suffix = f"; {_bands(summary)}" if bands else ""
    figure.suptitle(f"{run.manifest['profile']}: quality by share deferred, {what} ({run.rule}{means}){suffix}")
    return figure


def differences(summary: Summary, curves: Curves, scopes: list[Scope]) -> Figure:
    """Each method minus the baseline: these bands leave out what both share, and what seeds do to both alike."""
    run, base = summary.run, summary.baseline
    figure, axes_of_scopes = canvas.grid(len(scopes), 3.4, 2.8, most=3)
    appearance = looks(run.methods)
    for axes, scope in zip(axes_of_scopes, scopes, strict=True):
        axes.axhline(0, **appearance[base] | {"marker": ""}, label=base)
        for name in run.methods:
            band, look = curves.band(name, scope, versus=base), appearance[name]
            if band:
                low, high, x = 100 * band.low, 100 * band.high, 100 * GRID
                axes.fill_between(x, low, high, color=look["color"], alpha=0.12, linewidth=0)
                chance.curve(axes, x, 100 * band.estimate, look | {"markersize": 4}, (), label=name)
        _title(axes, summary, curves, scope)
    _rate_axes(axes_of_scopes, f"quality × 100, minus {base}", most=3)
    canvas.legend(figure, max(axes_of_scopes, key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    figure.suptitle(f"{run.manifest['profile']}: quality minus that of {base}\n{_bands(summary)}")
    return figure


def _title(axes: Axes, summary: Summary, curves: Curves, scope: Scope):
    """Name and size of the scope, and below it whether the models exceed chance; † lacks a task or seed of a method."""
    is_task = scope.tasks == (scope.name,)
    size = f"n = {len(summary.run.examples[scope.name])}" if is_task else f"{len(scope.tasks)} tasks"
    mark = " †" if any(curves.incomplete(name, scope) for name in summary.run.methods) else ""
    verdict = chance.verdict(summary, scope.tasks, scope.name)
    second_line = f"\nboth models {verdict}" if verdict else ""
    axes.set_title(f"{scope.name if is_task else scope.label} ({size}){mark}{second_line}", fontsize=9)


def _rate_axes(panels: list[Axes], label: str, most: int = 4):
    """Labels at the left panels and at the lowest panel of each column; `most`: panels in a row."""
    for i, axes in enumerate(panels):
        is_lowest = i + most >= len(panels)
        axes.set_xlim(-3, 103)
        axes.tick_params(labelbottom=is_lowest)
        if is_lowest:
            axes.set_xlabel(RATE_LABEL)
        if i % most == 0:
            axes.set_ylabel(label)


def scores(summary: Summary) -> Figure:
    """Scores of right answers upwards, of wrong ones downwards; classification and generation apart.

    The titles say how well the score ranks right answers above wrong ones: the AUROC, averaged over tasks and seeds.
    """
    run, choice = summary.run, set(summary.run.choice_tasks())
    as_probability = run.rule.startswith(PER_TOKEN)
    kinds = {"classification": choice, "generation": set(run.covered) - choice}
    kinds = {name: tasks for name, tasks in kinds.items() if tasks}
    figure = Figure(figsize=(max(6.0, 2.1 * len(run.methods)), 2.35 * len(kinds) + 0.9), layout="constrained")
    rows = figure.subplots(len(kinds), len(run.methods), squeeze=False, sharex="row")
    for row, (name, tasks) in zip(rows, kinds.items(), strict=True):
        sides = {method: _scored(summary, method, tasks, as_probability) for method in run.methods}
        every_score = np.concatenate([side for pair in sides.values() for side in pair] or [np.zeros(0)])
        if not len(every_score):
            continue
        ends = SURE if as_probability else (np.quantile(every_score, 0.01), every_score.max())
        edges = np.linspace(*ends, BINS + 1)
        for axes, (method, (right, wrong)) in zip(row, sides.items(), strict=True):
            total = max(1, len(right) + len(wrong))
            for values, sign, colour, label in ((right, 1, COLOURS[1], "right"), (wrong, -1, COLOURS[3], "wrong")):
                heights = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] * sign * 100 / total
                axes.stairs(heights, edges, fill=True, color=colour, label=label)  # one shape; a bar is one each
            axes.axhline(0, color="black", linewidth=0.6)
            axes.set_title(f"{method}\nAUROC {_auroc(summary, method, tasks)}", fontsize=9)
            axes.yaxis.set_major_formatter(_unsigned)
        row[0].set_ylabel(f"{name}\n% of answers")
    for axes in rows[-1]:
        axes.set_xlabel(f"exp({run.rule})" if as_probability else run.rule)
    canvas.legend(figure, rows[0, 0])
    title = f"{run.manifest['profile']}: scores of the small model's answers, all tasks and seeds together"
    figure.suptitle(f"{title}; AUROC: mean over tasks, chance is 0.50")
    return figure


def _unsigned(value: float, _place: int) -> str:
    return f"{abs(value):.0f}"


def _auroc(summary: Summary, method: str, tasks: set[str]) -> str:
    """Mean of the cells on which it is defined, and whether that is chance."""
    values = [cell.auroc_right for (name, _, task), cell in summary.cells.items() if name == method and task in tasks]
    values = [value for value in values if not np.isnan(value)]
    if not values:
        return "not defined"
    mean = round(float(np.mean(values)), 2)
    return f"{mean:.2f}" if mean > 0.5 else f"{mean:.2f} ≤ chance"


def _scored(summary: Summary, method: str, tasks: set[str], as_probability: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of right and of wrong answers, as probabilities if asked for."""
    run, right_scores, wrong_scores = summary.run, [np.zeros(0)], [np.zeros(0)]
    for (name, _, task), cell in summary.cells.items():
        if name == method and task in tasks:
            outcomes = cell.outcomes(run.rule)
            right = outcomes.quality_small > run.bars[task]
            score = np.exp(outcomes.score) if as_probability else outcomes.score
            right_scores.append(score[right])
            wrong_scores.append(score[~right])
    return np.concatenate(right_scores), np.concatenate(wrong_scores)


def live(summary: Summary, training: Training) -> Figure:
    """Share of live target tokens over the steps of the objective."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes, appearance = figure.subplots(), looks(summary.run.methods)
    for name, (steps, share) in training.items():
        every = max(1, len(steps) // 6)
        axes.plot(steps, 100 * np.asarray(share), label=name, markevery=every, markersize=4, **appearance[name])
    axes.set(xlabel="step of the objective", ylabel="live target tokens (%)")
    canvas.legend(figure, axes)
    means = f", means of {len(summary.run.seeds)} seeds" if len(summary.run.seeds) > 1 else ""
    figure.suptitle(f"{summary.run.manifest['profile']}: tokens that the loss keeps{means}")
    return figure
