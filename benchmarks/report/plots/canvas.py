"""Matplotlib without a display and to the same bytes every time: the style of all plots, and their rendering."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()  # lays out once for all formats
        figure.set_layout_engine("none")
        for kind in ("png", "svg") if name in vector else ("png",):
            # Matplotlib would write the date and its version into the file.
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            contents[f"{name}.{kind}"] = printed(figure, kind, metadata, matplotlib.rcParams["savefig.dpi"])
    return contents


def printed(figure: Figure, kind: str, metadata: Mapping[str, str | None], dpi: float) -> bytes:
    """A figure that is laid out already as a file of that kind: "png", "svg" or "pdf".

    `Figure.savefig` draws a PNG twice, the first time for the sake of the layout; the bytes are the same without. An
    SVG's are not, because the first drawing moves the last digits of what the names of its clip paths are hashes of.
    """
    buffer, metadata = io.BytesIO(), dict(metadata)
    if kind == "png":
        screen_dpi, figure.dpi = figure.dpi, dpi
        FigureCanvasAgg(figure).print_png(buffer, metadata=metadata)
        figure.dpi = screen_dpi
    else:
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=dpi)
    return buffer.getvalue()


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
