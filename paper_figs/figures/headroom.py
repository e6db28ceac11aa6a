"""What a method changes at the points of a sweep, by how much better the large model is than the small one."""

from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.figures.regime_map import FILES, FIRST, MEASURES, axes_of, interval_of, rows_of
from paper_figs.source import Source

FEWEST = 6  # points, of which something can be seen


def draw(source: Source):
    rows = _rows(source)
    first, *others = axes_of(rows)
    groups = list(dict.fromkeys(row[first] for row in rows))
    size = others[-1] if others else ""
    sizes = sorted({float(row[size]) for row in rows}) if size else []
    figure, axes = style.canvas(1, len(MEASURES), width=style.PAGE, height=2.8)
    for panel, (measure, (label, scale)) in zip(axes[0], MEASURES.items(), strict=True):
        for number, group in enumerate(groups):
            color = style.nth_look(number)["color"]
            for row in (row for row in rows if row[first] == group):
                marker = 2.5 + 1.5 * sizes.index(float(row[size])) if size else 3.5
                look = {"color": color, "marker": "o", "markersize": marker}
                values = interval_of(row, measure, scale)
                style.interval(panel, 100 * float(row["headroom"]), values, look, vertical=True, scale=1)
            panel.plot([], [], "o", color=color, markersize=4, label=f"{first} {group}")
        style.zero(panel, horizontal=True)
        panel.axvline(0, color=style.GREY, linewidth=0.8, linestyle=":")
        panel.set(xlabel="large model − small model, points", ylabel=label)
    style.legend(figure, axes[0, 0], 4)
    return figure


def _rows(source: Source) -> list[dict[str, str]]:
    """The points of the first difference of the sweep."""
    rows = rows_of(source)
    return [row for row in rows if [row[key] for key in FIRST] == [rows[0][key] for key in FIRST]]


def _suits(source: Source) -> bool:
    rows = _rows(source)
    return len(rows) >= FEWEST and "headroom" in rows[0]


FIGURE = Figure(
    name="headroom",
    caption="What a method changes at the points of a sweep, with 95 % intervals over examples and seeds, by how much "
    "better the large model is than the small one alone on validation data: deferral gain s_d (left) and area under "
    "the deferral curve (right). A colour for each value of the first axis; larger dots for larger values of the last.",
    pick=each(_suits, FILES),
    draw=draw,
    wants="a grid of profiles with six points or more: `python -m benchmarks sweep embedded_map --to "
    "results/regimes/embedded_map`",
    files=FILES,
)
