"""The figure of policies under load: quality against latency and rate, and how many requests are answered in time."""

from collections.abc import Sequence

from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.report.plots import canvas
from benchmarks.report.plots.palette import nth_look

SLOWEST = 20.0  # times the budget: the axes of latency end there, as queues of an overloaded service have no end


def figure(records: Sequence[dict], name: str, title: str) -> dict[str, bytes]:
    """`<name>.png` and `<name>.svg`: a line per policy over the rates; a ring marks where the budget is broken.

    Args:
        records: as for `tables.load_table.table`. title: above the panels.
    """
    policies = list(dict.fromkeys(record["policy"] for record in records))
    budget = 1000 * records[0]["budget"]
    with canvas.style():
        figure, panels = canvas.grid(4, 3.2, 2.9, most=2)
        for i, policy in enumerate(policies):
            own = [record for record in records if record["policy"] == policy]
            look = nth_look(i) | {"label": policy, "markersize": 4}
            quality = [100 * record["quality"] * record["answered"] for record in own]
            rates = [record["rate"] for record in own]
            for axes, column in ((panels[2], "p50"), (panels[3], "p99")):
                kept = [k for k, record in enumerate(own) if 1000 * record[column] <= SLOWEST * budget]
                axes.plot([1000 * own[k][column] for k in kept], [quality[k] for k in kept], **look)
            panels[0].plot(rates, quality, **look)
            panels[1].plot(rates, [100 * record["in_time"] for record in own], **look)
            broken = [k for k, record in enumerate(own) if record["p99"] > record["budget"]]
            panels[0].scatter([rates[k] for k in broken], [quality[k] for k in broken], s=70, facecolors="none",
                              edgecolors=look["color"], linewidths=0.7)  # fmt: skip
        panels[0].set(xlabel="requests a second", ylabel="quality × 100 of all requests")
        panels[1].set(xlabel="requests a second", ylabel="% answered in time", ylim=(0, 103))
        for axes, what in ((panels[2], "median"), (panels[3], "99th percentile")):
            axes.axvline(budget, color="#777777", linewidth=1, linestyle=":")
            axes.set(xscale="log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel=f"{what} of the latency, ms", ylabel="quality × 100 of all requests")
        figure.suptitle(f"{title}; ring: 99th percentile above {budget:.0f} ms", fontsize=10)
        canvas.legend(figure, panels[0])
        return canvas.rendered({name: figure}, vector=(name,))
