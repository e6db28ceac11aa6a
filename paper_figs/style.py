"""How every figure looks: sizes of a two-column paper, type that stays legible there, one look for each method."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.plots import canvas as report_canvas
from benchmarks.report.plots.palette import (  # the report and the paper show a method alike
    COLOURS,
    GREY,
    MARKERS,
    looks,
    nth_look,
)

__all__ = [
    "COLOURS",
    "COLUMN",
    "GREY",
    "MARKERS",
    "PAGE",
    "SMALL",
    "applied",
    "blank",
    "canvas",
    "interval",
    "legend",
    "looks",
    "nth_look",
    "spread",
    "zero",
]

COLUMN, PAGE = 3.3, 6.9  # widths of one column and of both
SMALL = 7  # points; nothing is smaller
STYLE = {
    "pdf.fonttype": 42,  # TrueType: Type 3 is refused by some publishers
    "font.size": SMALL,
    "axes.titlesize": 7.5,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "figure.constrained_layout.use": True,
}


@contextmanager
def applied() -> Iterator[None]:
    with report_canvas.style():
        matplotlib.rcParams.update(STYLE)
        yield


def canvas(rows: int = 1, columns: int = 1, *, width: float = COLUMN, height: float, **grid):
    """A figure and its axes, (rows, columns)."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def blank(*, width: float = COLUMN, height: float) -> Figure:
    """A figure without axes, for those that place their own."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    return figure


def legend(figure: Figure, axes: Axes, columns: int = 3, further: tuple[list, list[str]] = ([], []), **where):
    """One legend for the whole figure, below it.

    Args:
        axes: the panel whose labels it has. columns: at most. further: handles and labels that it has besides.
        where: other arguments of matplotlib's legend.
    """
    handles, labels = ([*own, *others] for own, others in zip(axes.get_legend_handles_labels(), further, strict=True))
    where = {"loc": "outside lower center", **where}
    figure.legend(handles, labels, ncols=max(1, min(columns, len(labels))), **where)


def zero(axes: Axes, horizontal: bool = False):
    """The line that means "no difference"."""
    (axes.axhline if horizontal else axes.axvline)(0, color=GREY, linewidth=0.8, zorder=1)


def interval(axes: Axes, at: float, value, look: dict, vertical: bool = False, scale: float = 100):
    """An estimate with its interval (estimate, low, high), at a place on the other axis."""
    estimate, *ends = (scale * x for x in value)
    _mark(axes, at, estimate, ends, look, vertical)


def spread(axes: Axes, at: float, value, look: dict, scale: float = 1):
    """A mean over seeds with its standard deviation; a mark alone where there is one seed, nothing for NaN."""
    mean, sd = scale * value.mean, scale * value.sd
    if not math.isnan(mean):
        _mark(axes, at, mean, [] if math.isnan(sd) else [mean - sd, mean + sd], look, vertical=False)


def _mark(axes: Axes, at: float, middle: float, ends: list[float], look: dict, vertical: bool):
    """A line between the ends, and the mark of the method on it."""
    line, mark = {"color": look["color"], "linewidth": 1, "zorder": 2}, look | {"linestyle": "", "zorder": 3}
    for values, appearance in ((ends, line), ([middle], mark)):
        places = [at] * len(values)
        axes.plot(*((places, values) if vertical else (values, places)), **appearance)
