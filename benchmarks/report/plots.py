"""The plots of a report, drawn without a display and to the same bytes every time."""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.report.cells import RANDOM
from benchmarks.report.load import Run
from benchmarks.report.summary import Summary
from benchmarks.report.tables import unit
from cat_keras.curves import DeferralCurve

GRID = np.linspace(0, 1, 101)
EVERY_QUARTER = slice(None, None, 25)
# Okabe and Ito's colours, which the colour-blind tell apart; its yellow is left out, too faint for a line on white.
COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "osD^vPX"
# The same method looks the same in every report; others take what is free.
USUAL = ("xent", "dist", "cat-xent", "cat-dist", "gatekeeper")
GREY = "#777777"
STYLE = {
    "svg.hashsalt": "cat-keras",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def files(summary: Summary) -> dict[str, bytes]:
    """File name → content of every plot."""
    with _style():
        figures = {"quality_cost": _quality_cost(summary), "tasks": _tasks(summary)}
        for figure in figures.values():
            FigureCanvasAgg(figure)
            figure.draw_without_rendering()  # lays out once for both formats
            figure.set_layout_engine("none")
        return {
            f"{name}.{kind}": _rendered(figure, kind) for name, figure in figures.items() for kind in ("png", "svg")
        }


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change the report
        matplotlib.rcParams.update(STYLE)
        yield


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Matplotlib would write the date and its version into the file.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def looks(methods: tuple[str, ...]) -> dict[str, dict]:
    """Colour, marker and line of each method; after seven methods colours repeat with another line."""
    free = iter([*range(len(USUAL), len(COLOURS)), *range(len(COLOURS), 10 * len(COLOURS))])
    place = {name: USUAL.index(name) if name in USUAL else next(free) for name in methods}
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": ("-", "--", "-.")[i // len(COLOURS) % 3],
        }
        for name, i in place.items()
    }


def _on_grid(curves: Mapping[int, DeferralCurve], column: str) -> np.ndarray:
    """Seeds × grid."""
    return np.array([np.interp(GRID, curve.deferral_rate, getattr(curve, column)) for curve in curves.values()])


def _draw(
    axes: Axes,
    curves: Mapping[int, DeferralCurve],
    look: dict,
    label: str,
    cost_of_large: float | None = None,
    band: bool = True,
):
    """The mean over seeds, with the range of the seeds as a band; over cost when `cost_of_large` is given."""
    quality = 100 * _on_grid(curves, "quality")
    x = 100 * (GRID if cost_of_large is None else _on_grid(curves, "cost").mean(axis=0) / cost_of_large)
    if band and len(quality) > 1:
        axes.fill_between(x, quality.min(axis=0), quality.max(axis=0), color=look["color"], alpha=0.12, linewidth=0)
    axes.plot(x, quality.mean(axis=0), label=label, markevery=EVERY_QUARTER, markersize=4, **look)


def _quality_cost(summary: Summary) -> Figure:
    """Left the whole picture with its bounds, right the methods alone, close enough to tell them apart."""
    run = summary.run
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    appearance = looks(run.methods)
    for axes, large in ((left, None), (right, summary.large_cost)):
        for row in summary.rows:
            if row.curve:
                _draw(axes, row.curves, appearance[row.name], row.name + (" †" if row.holes else ""), large)
        _single_models(summary, axes, 100 if large is None else 100 / summary.large_cost)
        for row in summary.references:
            if row.curve and not row.method and (axes is left or row.name.endswith(RANDOM)):
                line = {"color": GREY, "linestyle": "--" if row.name.endswith(RANDOM) else ":", "marker": ""}
                _draw(axes, {0: row.curve}, line, row.name, large)
    if run.bayes is not None:
        left.axhline(100 * run.bayes, color=GREY, linestyle="-.", linewidth=1, label="Bayes-optimal")
    size, name = unit(summary)
    large = f"{summary.large_cost / size:.1f} {name}"
    left.set(title="Quality by share deferred", xlabel="queries deferred (%)", ylabel=f"quality × 100, {_average(run)}")
    right.set(title="Quality by cost (closer)", xlabel=f"FLOPs per query, % of the large model alone ({large})")
    left.set_xlim(-2, 102)
    right.set_xlim(left=0)
    _legend(figure, left)
    bands = f"; bands: range of {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
    figure.suptitle(f"{run.manifest['profile']}: cascades of a small and a large model, deferral by {run.rule}{bands}")
    return figure


def _average(run: Run) -> str:
    count = len(run.covered)
    whole = f"mean of {count} tasks" if count > 1 else run.covered[0] if count else "no task"
    return whole if count == len(run.tasks) else f"{whole} of {len(run.tasks)} †"


def _single_models(summary: Summary, axes: Axes, scale: float):
    """The models alone as points: at 0 and 100 % deferral, or over their own cost when `scale` is percent per FLOP."""
    baseline, by_rate = summary.row(summary.baseline), scale == 100
    point = {"linestyle": "", "markersize": 11, "markeredgecolor": "black", "markerfacecolor": "none", "zorder": 5}
    x = 100 if by_rate else summary.large_cost * scale
    axes.plot([x], [100 * summary.large_quality], marker="*", label="large alone", **point)
    if baseline.curve:
        x = 0 if by_rate else baseline.curve.cost[0] * scale
        label = f"small alone ({summary.baseline})"
        axes.plot([x], [100 * baseline.curve.quality[0]], marker="o", label=label, **point)


def _legend(figure: Figure, axes: Axes):
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(5, len(labels))))


def _tasks(summary: Summary) -> Figure:
    run = summary.run
    columns = min(4, len(run.tasks))
    rows = math.ceil(len(run.tasks) / columns)
    figure = Figure(figsize=(max(6.0, 2.9 * columns), 2.4 * rows + 1.1), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    appearance = looks(run.methods)
    for i, axes in enumerate(panels.flat):
        if i >= len(run.tasks):
            axes.remove()
            continue
        _panel(summary, run.tasks[i], axes, appearance)
        if i + columns >= len(run.tasks):  # the lowest of its column
            axes.set_xlabel("queries deferred (%)")
            axes.tick_params(labelbottom=True)
        if i % columns == 0:
            axes.set_ylabel("quality × 100")
    means = f", means of {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
    figure.suptitle(f"{run.manifest['profile']}: quality by share deferred, task by task ({run.rule}{means})")
    fullest = max(panels.flat[: len(run.tasks)], key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    _legend(figure, fullest)
    return figure


def _panel(summary: Summary, name: str, axes: Axes, appearance: Mapping[str, dict]):
    """One task; a title with † lacks seeds. No bands: at this size they would hide the lines."""
    run, lacks = summary.run, False
    for method in run.methods:
        cells = {seed: summary.cells.get((method, seed, name)) for seed in run.seeds}
        present = {seed: cell for seed, cell in cells.items() if cell}
        lacks = lacks or len(present) < len(cells)
        if not present:
            continue
        _draw(axes, {s: cell.curve(run.rule) for s, cell in present.items()}, appearance[method], method, band=False)
        if method == summary.baseline:
            line = {"color": GREY, "linestyle": "--", "marker": "", "zorder": 1}
            curves = {s: cell.curve(RANDOM) for s, cell in present.items()}
            _draw(axes, curves, line, f"{method}, {RANDOM}", band=False)
    axes.set_title(f"{name} (n = {len(run.examples[name])}){' †' if lacks else ''}", fontsize=9)
    axes.set_xlim(-3, 103)
