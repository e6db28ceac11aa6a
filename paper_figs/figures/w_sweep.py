"""The weight of the label against the large model's distribution, with and without the mask."""

import numpy as np

from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source
from paper_figs.variants import Variant, distinct, families, variants

LINES = {"all": "dist", "either": "cat-dist"}  # mask → the objective whose look the line has


def sweeps(sources) -> dict[str, dict[float, Variant]]:
    """Mask → w → the method; w = 1 is `xent` or `cat-xent`."""
    plain = [variant for variant in variants(sources) if variant.plain]
    return {mask: distinct((v for v in plain if v.arguments.get("mask") == mask), "w") for mask in LINES}


def pick(sources):
    sources = families(sources, aside=True)
    return [family for family in sources if any(len(by_w) > 2 for by_w in sweeps(family).values())]


def draw(*sources: Source):
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=2.2, sharex=True)
    looks = style.looks(tuple(LINES.values()))
    for mask, by_w in sweeps(sources).items():
        look = looks[LINES[mask]]
        shift = 0.006 if mask == "all" else -0.006  # the intervals of both lines stand beside each other
        for w, variant in by_w.items():
            if variant.row.difference:
                style.interval(axes[0, 0], w + shift, variant.row.difference, look, vertical=True)
        rows = [variant.row for variant in by_w.values()]
        differences = [100 * row.difference.estimate if row.difference else 0.0 for row in rows]
        label = "no mask" if mask == "all" else "the paper's mask"
        axes[0, 0].plot(np.array(list(by_w)) + shift, differences, **look, label=label)
        axes[0, 1].plot(list(by_w), [100 * row.quality[0].mean for row in rows], **look)
    style.zero(axes[0, 0], horizontal=True)
    axes[0, 0].set_ylabel("Δ AUDC to xent (× 100)")
    axes[0, 1].set_ylabel("small model alone (× 100)")
    for panel in axes[0]:
        panel.set_xlabel("w: 0 the large model's distribution, 1 the label")
        panel.set_xticks(np.linspace(0, 1, 5))
    axes[0, 0].legend()
    return figure


FIGURE = Figure(
    name="w_sweep",
    caption="The weight w of the label against the large model's distribution, with the paper's mask and without one. "
    "At w = 1 the lines are `cat-xent` and `xent`. Left: difference in the area under the deferral curve to `xent`, "
    "with its 95 % interval. Right: quality of the small model alone.",
    pick=pick,
    draw=draw,
    wants="three or more values of w trained alike, in one run or several: `python -m benchmarks run embedded_study`",
)
