"""The figure of rejecting: the joint risk over the share rejected, a panel per mixture, a line per rule."""

from benchmarks.report.numbers.rejecting import SHARES, Standings
from benchmarks.report.plots import canvas
from benchmarks.report.plots.palette import COLOURS, LINES

BANDS = ("plugin-ood", "max-probability")  # rules whose intervals are drawn


def figure(standings: Standings, method: str) -> dict[str, bytes]:
    """`rejection.png` and `rejection.svg`, with the answers of one method."""
    places = list(dict.fromkeys(place for place, _, _ in standings))
    with canvas.style():
        drawn, panels = canvas.grid(len(places), 3.4, 2.9)
        for axes, place in zip(panels, places, strict=True):
            panel(axes, standings, place, method)
            axes.set(title=f"{place}, {method}", xlabel="rejected, % of all questions", ylabel="joint risk × 100")
        canvas.legend(drawn, panels[0])
        return canvas.rendered({"rejection": drawn}, vector=("rejection",))


def panel(axes, standings: Standings, place: str, method: str):
    """The curves of every rule on one mixture."""
    rules = dict.fromkeys(rule for _, _, rule in standings)
    for i, rule in enumerate(rules):
        standing = standings[place, method, rule]
        look = {"color": COLOURS[i], "linestyle": LINES[i % len(LINES)]}
        axes.plot(100 * SHARES, 100 * standing.curve, label=rule, **look)
        if rule in BANDS:
            low, high = 100 * standing.low, 100 * standing.high
            axes.fill_between(100 * SHARES, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
