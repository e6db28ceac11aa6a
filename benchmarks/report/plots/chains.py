"""The figure of longer cascades: quality by cost of all methods, and of one method with fewer models."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.numbers.chains import TWO, Chains
from benchmarks.report.numbers.costs import FLOPS
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.plots.palette import COLOURS, GREY, LINES, looks


def figure(summary: Summary, chains: Chains) -> Figure:
    """Left the whole cascade by every method, right that of the best method and what two of its models give."""
    size, unit = FLOPS.unit(max(standing.alone[-1, 0] for standing in chains.standings.values()))
    drawn = Figure(figsize=(10.5, 4.9), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    for name, look in looks(list(chains.standings)).items():
        _curve(left, chains.standings[name].curves[chains.whole], size, name, look | {"markersize": 4}, 0.1)
    best = max(chains.standings, key=lambda name: chains.standings[name].quality[chains.whole].estimate)
    standing = chains.standings[best]
    for i, name in enumerate((chains.whole, TWO, *chains.pairs)):
        look = {"color": GREY if name == TWO else COLOURS[(i - 1) % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
        look |= {"color": "black"} if i == 0 else {}
        _curve(right, standing.curves[name], size, name, look, 0.15 if i == 0 else 0)
    for i, (role, (cost, quality)) in enumerate(zip(chains.roles, standing.alone, strict=True)):
        right.plot(
            [cost / size], [100 * quality], marker="osD^v*"[i % 6], linestyle="", markersize=10,
            markeredgecolor="black", markerfacecolor="none", zorder=5, label=f"{role} alone",
        )  # fmt: skip
    left.set(title=chains.whole, ylabel="quality × 100")
    right.set(title=f"with the answers of {best}")
    for axes in (left, right):
        axes.set_xlabel(f"{FLOPS.label} ({unit})")
        axes.set_xlim(left=0)
        axes.legend(fontsize=8, loc="lower right")
    count = len(chains.tasks)
    seeds = " and seeds" if len(summary.run.seeds) > 1 else ""
    drawn.suptitle(
        f"{summary.run.manifest['profile']}: the best within each budget, mean of {count} task{'s' * (count != 1)}; "
        f"bands: 95 % intervals over examples{seeds}"
    )
    return drawn


def _curve(axes: Axes, curve, size: float, label: str, look: dict, shade: float):
    cost, quality, low, high = curve
    axes.plot(cost / size, 100 * quality, label=label, markevery=4, **look)
    if shade:
        axes.fill_between(cost / size, 100 * low, 100 * high, color=look["color"], alpha=shade, linewidth=0)
