"""Matplotlib without a display and to the same bytes every time: the style of all plots, and their rendering."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

STYLE = {
    "svg.hashsalt": "cat-keras",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


@contextmanager
def style() -> Iterator[None]:
    """Applies matplotlib's defaults and then ours, since a user's matplotlibrc must not change the report."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def rendered(figures: Mapping[str, Figure], vector: Collection[str] = ()) -> dict[str, bytes]:
    """File name → content: each figure as PNG, and those named in `vector` as SVG too."""
    contents = {}
    with style():
        for name, figure in figures.items():
            lay_out(figure)
            # Matplotlib would write the date and its version into the files, and `savefig` would draw twice.
            if name in vector:
                buffer = io.BytesIO()
                FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
                contents[f"{name}.svg"] = buffer.getvalue()
            buffer = io.BytesIO()
            figure.dpi = matplotlib.rcParams["savefig.dpi"]
            FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
            contents[f"{name}.png"] = buffer.getvalue()
    return contents


def lay_out(figure: Figure):
    """Places everything once for all formats, at the same places on every machine.

    The last bits of a layout depend on the processor, as logarithms do, and the names of clip paths hash all bits.
    """
    FigureCanvasAgg(figure)  # texts are measured as they are drawn in pixels
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        for which in ("original", "active"):
            bounds = axes.get_position(original=which == "original").bounds
            axes.set_position([round(bound, 6) for bound in bounds], which)


def grid(count: int, width: float, height: float, most: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most `most` in a row, each of that size in inches."""
    columns = min(most, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(6.0, width * columns), height * rows + 1.1), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def legend(figure: Figure, axes: Axes, further: tuple[Sequence, Sequence[str]] = ((), ())):
    """One legend for all panels, below them.

    Args:
        axes: the panel whose labels it has. further: handles and labels that it has besides.
    """
    handles, labels = ([*own, *others] for own, others in zip(axes.get_legend_handles_labels(), further, strict=True))
    rows = -(-len(labels) // 6) or 1
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, -(-len(labels) // rows)))
