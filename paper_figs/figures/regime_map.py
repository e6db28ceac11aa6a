"""What methods change over the grid of a sweep: a panel per value of its last axis, a line per value of the second."""

import csv
import io

import numpy as np

from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.source import Source

FILES = ("points.csv", "regression.csv", "manifest.json")
MEASURES = {"s_d": ("Δ s_d", 1), "audc": ("Δ AUDC (× 100)", 100)}
FIRST = ("method", "versus")  # columns before the axes; `seeds` is the first one behind them


def draw(source: Source):
    rows = rows_of(source)
    axes = axes_of(rows)
    several = len({(row["method"], row["versus"]) for row in rows}) > 1
    panels = list(dict.fromkeys(_panel(row, axes) for row in rows))
    lines = list(dict.fromkeys(_line(row, axes, several) for row in rows))
    figure, grid = style.canvas(
        len(MEASURES), len(panels), width=style.PAGE if len(panels) > 1 else style.COLUMN, height=3.6, sharex=True,
        sharey="row",
    )  # fmt: skip
    places = sorted({float(row[axes[0]]) for row in rows})
    width = 0.04 * (places[-1] - places[0] or 1)
    offsets = np.linspace(-width, width, len(lines)) if len(lines) > 1 else [0.0]
    for (measure, (label, scale)), of_measure in zip(MEASURES.items(), grid, strict=True):
        for axis, panel in zip(of_measure, panels, strict=True):
            for number, line in enumerate(lines):
                own = [row for row in rows if _panel(row, axes) == panel and _line(row, axes, several) == line]
                _draw(axis, own, axes[0], measure, scale, offsets[number], style.nth_look(number), line)
            style.zero(axis, horizontal=True)
            axis.set_xticks(places)
        of_measure[0].set(ylabel=label)
    for axis, panel in zip(grid[0], panels, strict=True):
        axis.set(title=panel)
    for axis in grid[-1]:
        axis.set(xlabel=axes[0])
    style.legend(figure, grid[0, 0], 4 if len(panels) > 1 else 2)
    return figure


def _draw(axis, rows, name: str, measure: str, scale: float, offset: float, look: dict, label: str):
    x = [float(row[name]) + offset for row in rows]
    values = np.reshape([interval_of(row, measure, scale) for row in rows], (-1, 3)).T
    axis.plot(x, values[0], label=label, **look | {"markersize": 3})
    axis.vlines(x, values[1], values[2], color=look["color"], linewidth=0.8)


def rows_of(source: Source) -> list[dict[str, str]]:
    """The records of `points.csv`."""
    return list(csv.DictReader(io.StringIO((source.folder / FILES[0]).read_text(encoding="utf-8"))))


def axes_of(rows: list[dict[str, str]]) -> list[str]:
    """Names of the axes of the sweep."""
    columns = list(rows[0])
    return columns[len(FIRST) : columns.index("seeds")]


def interval_of(row: dict[str, str], measure: str, scale: float) -> list[float]:
    """A difference, and the ends of its interval; NaN where it is not defined."""
    return [scale * float(row[f"{measure}{end}"] or "nan") for end in ("", "_low", "_high")]


def _panel(row: dict[str, str], axes: list[str]) -> str:
    return ", ".join(f"{name} {row[name]}" for name in axes[2:])


def _line(row: dict[str, str], axes: list[str], several: bool) -> str:
    parts = [f"{name} {row[name]}" for name in axes[1:2]]
    return ", ".join([f"{row['method']} − {row['versus']}"] * several + parts) or f"{row['method']} − {row['versus']}"


FIGURE = Figure(
    name="regime_map",
    caption="What methods change over the grid of a sweep, with 95 % intervals over examples and seeds: deferral gain "
    "s_d (above) and area under the deferral curve (below), by the first axis of the grid, with a line for each value "
    "of the second or each difference of two methods, and a panel for each value of the third.",
    pick=each(files=FILES),
    draw=draw,
    wants="a grid of profiles: `python -m benchmarks sweep embedded_map --to results/regimes/embedded_map`",
    files=FILES,
)
