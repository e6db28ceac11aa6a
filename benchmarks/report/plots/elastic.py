"""The plot of the sizes of an elastic small model: quality over FLOPs, beside the cascade of the same pair."""

from matplotlib.figure import Figure

from benchmarks.report.numbers.elastic import Dial
from benchmarks.report.plots.palette import nth_look

WIDER = 1.15  # the cascade is drawn up to so many times the FLOPs of the largest size


def figure(dial: Dial) -> Figure:
    """A line with intervals for every kind of method, and a thin line for the best cascade of one of its sizes."""
    drawn = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = drawn.subplots()
    end = WIDER * max(s.flops for s in dial.standings) / 1e6
    for number, (kind, (flops, quality)) in enumerate(dial.curves.items()):
        look = nth_look(number)
        sizes = [s for s in dial.standings if s.kind == kind]
        errors = [[100 * (s.quality.estimate - s.quality.low) for s in sizes],
                  [100 * (s.quality.high - s.quality.estimate) for s in sizes]]  # fmt: skip
        x, y = [s.flops / 1e6 for s in sizes], [100 * s.quality.estimate for s in sizes]
        axes.errorbar(x, y, errors, label=kind, capsize=2, markersize=5, elinewidth=0.8, **look | {"linestyle": "-"})
        inside = flops / 1e6 <= end
        label = f"{kind}, the best size with the large model"
        axes.plot(
            flops[inside] / 1e6, 100 * quality[inside], linestyle="--", color=look["color"], linewidth=0.9, label=label
        )
    if dial.large[0] / 1e6 <= end:
        axes.plot([dial.large[0] / 1e6], [100 * dial.large[1]], "*", color="black", label="large alone")
    axes.set(xlabel="FLOPs per query × 10⁶", ylabel="quality × 100", title="A dial and a cascade")
    axes.legend(fontsize=8)
    return drawn
