"""Quality against cost by suite, and what each objective gains over `xent` at every deferral rate.

Of a single method the first part alone is drawn, with its interval.
"""

import numpy as np

from benchmarks.report.numbers import costs
from benchmarks.report.plots import chance
from cat_keras.evaluation.bands import GRID
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source

FAR = 3  # times as far from `xent` as any other method


def suites(numbers) -> dict[str, str]:
    """Scope → title: every suite of the run, or all its tasks when they are one suite."""
    titles = {scope: scope.removeprefix("suite: ") for scope in numbers.scopes() if scope.startswith("suite: ")}
    return titles or {"all": "all tasks"}


def draw(source: Source):
    numbers, titles = source.numbers, suites(source.numbers)
    several = len(source.run.methods) > 1
    size = {"width": style.PAGE, "height": 0.6 + 1.85 * len(titles)} if several else {"height": 0.8 + 2.4 * len(titles)}
    figure, axes = style.canvas(len(titles), 1 + several, **size)
    looks, bands, gains = style.looks(source.run.methods), numbers.bands(), numbers.bands(numbers.baseline)
    shaded, levels = False, {scope: chance.of_tasks(source.run, numbers.scopes()[scope]) for scope in titles}
    for (left, *right), (scope, title) in zip(axes, titles.items(), strict=True):
        part = numbers.only(numbers.scopes()[scope])
        for method, look in looks.items():
            mean, look = part.row(method).curve, look | {"markersize": 3}
            if mean is None or method not in bands[scope]:
                continue
            cost = 100 * costs.share(np.interp(GRID, mean.deferral_rate, mean.cost), part.large_cost)
            band = bands[scope][method]
            unsure = chance.hollow(levels[scope], band)
            chance.curve(left, cost, 100 * band.estimate, look, unsure, label=method)
            if not several:
                _shade_band(left, cost, band, look)
            elif method in gains[scope]:
                _shade_band(right[0], 100 * GRID, gains[scope][method], look)
                chance.curve(right[0], 100 * GRID, 100 * gains[scope][method].estimate, look, ())
        _references(left, part)
        if not part.large_cost > 0 or not all(row.curve is None or row.curve.has_cost for row in part.rows):
            left.text(0.5, 0.5, "FLOPs not known, or 0", transform=left.transAxes, ha="center")
        shaded |= chance.shade(left, levels[scope])
        count = len(part.run.covered)
        left.set_title(f"{title} ({count} {'task' if count == 1 else 'tasks'})", loc="left")
        left.set_ylabel("quality (× 100)")
        for panel in right:
            style.zero(panel, horizontal=True)
            _let_far_method_leave(panel, gains[scope])
            panel.set_ylabel(f"Δ to {numbers.baseline} (× 100)")
    share = "% of the large model alone"
    axes[-1, 0].set_xlabel(
        f"{costs.base(source.run).label}, {share}" if several else f"{costs.base(source.run).label},\n{share}"
    )
    if several:
        axes[-1, 1].set_xlabel("queries deferred (%)")
    style.legend(figure, axes[0, 0], 4, chance.key() if shaded else ([], []))
    return figure


def _shade_band(panel, x, band, look):
    panel.fill_between(x, 100 * band.low, 100 * band.high, color=look["color"], alpha=0.13, lw=0)


def _let_far_method_leave(panel, gains):
    """Lets a method that is far off leave the panel, which then says how far, so that the others can be told apart."""
    if not gains:
        return
    reach = {method: np.abs(band.estimate).max() for method, band in gains.items()}
    near, far = sorted(reach, key=reach.get)[:-1], max(reach, key=reach.get)
    if near and reach[far] > FAR * reach[near[-1]]:
        low, high = (100 * f([f(getattr(gains[m], end)) for m in near]) for f, end in ((min, "low"), (max, "high")))
        room = 0.15 * (high - low)
        panel.set_ylim(low - room, high + room)
        extreme = max(100 * gains[far].estimate, key=abs)
        panel.text(0.02, 0.03, f"{far}: to {extreme:+.1f}", transform=panel.transAxes)


def _references(panel, part):
    """Deferring the baseline's queries at random, and the large model alone."""
    row = next((row for row in part.references if row.name.endswith("random")), None)
    if row and (random := row.curve):
        x = 100 * costs.share(random.cost, part.large_cost)
        panel.plot(x, 100 * random.quality, color=style.GREY, linestyle="--", linewidth=0.9, label=row.name)
    star = {"marker": "*", "markersize": 8, "markeredgecolor": "black", "markerfacecolor": "none", "linestyle": ""}
    panel.plot([100], [100 * part.large_quality], label="large alone", **star)


FIGURE = Figure(
    name="quality_cost",
    caption="Cascades by suite. Left: quality against FLOPs per query, one curve per training objective, each task "
    "deferring the same share of its queries; star: the large model alone; dashed: the cascade after `xent` deferring "
    "at random. Shaded, where half of the tasks or more have options: up to the quality of answering without reading, "
    "with any option or always with the most frequent one, where generation counts as 0; hollow marks: the 95 % "
    "interval is not above that. Right: gain over the cascade after `xent` at the same deferral rate, with pointwise "
    "95 % intervals (examples and seeds resampled); a method far from all others leaves the panel, which then says "
    "how far. Of a single method: its curve alone, with that interval.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
)
