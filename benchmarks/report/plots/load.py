"""The figure of policies under load: quality against latency and rate, and how many requests are answered in time."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.report.plots import canvas
from benchmarks.report.plots.palette import GREY, nth_look

SLOWEST = 5.0  # times the budget: the axes of latency end there, as queues of an overloaded service have no end


def figure(records: Sequence[dict], name: str, title: str) -> dict[str, bytes]:
    """`<name>.png` and `<name>.svg`: a line per policy over the rates.

    Args:
        records: as for `tables.load_table.table`. title: above the panels.
    """
    budget = 1000 * records[0]["budget"]
    with canvas.style():
        drawing, panels = canvas.grid(4, 3.2, 2.9, most=2)
        by_rate(panels[0], records)
        in_time(panels[1], records)
        by_latency(panels[2], records, "p50")
        by_latency(panels[3], records, "p99")
        drawing.suptitle(f"{title}; ring: 99th percentile above {budget:.0f} ms", fontsize=10)
        canvas.legend(drawing, panels[0])
        return canvas.rendered({name: drawing}, vector=(name,))


def by_rate(axes: Axes, records: Sequence[dict]):
    """Quality of all requests by rate, who got no answer counting as 0; a ring where the budget is broken."""
    for own, look in _lines(records):
        rates, quality = [r["rate"] for r in own], [_quality(r) for r in own]
        axes.plot(rates, quality, **look)
        broken = [k for k, r in enumerate(own) if r["p99"] > r["budget"]]
        ring = {"s": 70, "facecolors": "none", "edgecolors": look["color"], "linewidths": 0.7}
        axes.scatter([rates[k] for k in broken], [quality[k] for k in broken], **ring)
    axes.set(xlabel="requests a second", ylabel="quality × 100 of all requests")


def in_time(axes: Axes, records: Sequence[dict]):
    """Share of all requests that were answered within the budget, by rate."""
    for own, look in _lines(records):
        axes.plot([r["rate"] for r in own], [100 * r["in_time"] for r in own], **look)
    axes.set(xlabel="requests a second", ylabel="% answered in time", ylim=(0, 103))


def by_latency(axes: Axes, records: Sequence[dict], column: str):
    """Quality by the median (`p50`) or the 99th percentile (`p99`) of the latency; a dotted line is the budget."""
    budget = 1000 * records[0]["budget"]
    for own, look in _lines(records):
        kept = [r for r in own if 1000 * r[column] <= SLOWEST * budget]
        axes.plot([1000 * r[column] for r in kept], [_quality(r) for r in kept], **look)
    axes.axvline(budget, color=GREY, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    what = {"p50": "median", "p99": "99th percentile"}[column]
    axes.set(xlabel=f"{what} of the latency, ms", ylabel="quality × 100 of all requests")


def _lines(records: Sequence[dict]):
    """The records of each policy, and its look."""
    for i, policy in enumerate(dict.fromkeys(record["policy"] for record in records)):
        yield [r for r in records if r["policy"] == policy], nth_look(i) | {"label": policy, "markersize": 4}


def _quality(record: dict) -> float:
    return 100 * record["quality"] * record["answered"]
