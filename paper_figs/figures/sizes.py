"""How much smaller than the large model the small one may be."""

import json
from collections.abc import Iterable

import numpy as np

from benchmarks.report.numbers import costs
from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source
from paper_figs.variants import NAMES, families

SIZES = ("small", "large")
SHIFT = 1.015  # a factor, so that intervals of several methods stand beside each other


def pick(sources):
    """Runs that differ in their models, one of each size; methods and seeds may be others."""
    alike = families(sources, ignoring=(*NAMES, "seeds", *SIZES), aside=True)
    groups = [group for group in map(_one_of_each_size, alike) if len(group) > 2]
    priced = [tuple(source for source in group if _has_costs(source)) for group in groups]
    return [group for group in priced if len(group) > 2]


def _has_costs(source: Source) -> bool:
    """Whether the large model's cost is known and not 0, told without computing anything of the run."""
    return all(np.nansum(cell["flops"]) > 0 for cell in source.run.large.values())


def _one_of_each_size(family: Iterable[Source]) -> tuple[Source, ...]:
    first: dict[str, Source] = {}
    for source in family:
        first.setdefault(json.dumps([source.settings.get(key) for key in SIZES], sort_keys=True), source)
    return tuple(first.values())


def draw(*sources: Source):
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=2.6)
    methods = tuple(m for m in sources[0].run.methods if all(m in source.run.methods for source in sources))
    for i, (method, look) in enumerate(style.looks(methods).items()):
        complete = sorted(((_ratio(s), s) for s in sources if s.numbers.row(method).curve), key=lambda pair: pair[0])
        x = [ratio for ratio, _ in complete]
        rows = [source.numbers.row(method) for _, source in complete]
        axes[0, 0].plot(x, [100 * row.audc.mean for row in rows], label=method, **look)
        differences = [(r * SHIFT**i, row.difference) for r, row in zip(x, rows, strict=True) if row.difference]
        for at, difference in differences:
            style.interval(axes[0, 1], at, difference, look, vertical=True)
        axes[0, 1].plot([at for at, _ in differences], [100 * d.estimate for _, d in differences], **look)
    ratios = sorted({_ratio(source) for source in sources})
    style.zero(axes[0, 1], horizontal=True)
    axes[0, 0].set_ylabel("AUDC (× 100)")
    axes[0, 1].set_ylabel("Δ AUDC to xent (× 100)")
    for panel in axes[0]:
        panel.set_xscale("log")
        panel.set_xlabel("cost of the small model, % of the large")
        panel.set_xticks(ratios, [f"{ratio:.2g}" for ratio in ratios], minor=False)
        panel.minorticks_off()
    style.legend(figure, axes[0, 0], 5)
    return figure


def _ratio(source: Source) -> float:
    """Mean FLOPs per query of the small model in percent of the large model's."""
    numbers = source.numbers
    return 100 * costs.share(numbers.row(numbers.baseline).curve.cost[0], numbers.large_cost)


FIGURE = Figure(
    name="sizes",
    caption="Sizes of the pair: area under the deferral curve (left) and its difference to `xent` with a 95 % interval "
    "(right) by the cost of the small model relative to the large one, FLOPs per query.",
    pick=pick,
    draw=draw,
    wants="three or more runs that differ in `small` or `large` alone: `python -m benchmarks run embedded_small`, "
    "`embedded_wide` and `embedded_study`",
)
