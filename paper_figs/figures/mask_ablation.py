"""Which tokens to leave out: `cat-xent` with every mask."""

from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source
from paper_figs.variants import Variant, distinct, families, variants

# Rows from no mask through the paper's own to those of this project; any other mask comes last.
ORDER = ("all", "random", "excess", "either", "start", "small", "large", "both", "gap", "soft", "sequence")


def masks(sources) -> dict[str, Variant]:
    """Mask → the method that trains with it and with the label alone (w = 1)."""
    by_mask = distinct((v for v in variants(sources) if v.arguments.get("w") == 1.0 and v.plain), "mask")
    return {mask: by_mask[mask] for mask in sorted(by_mask, key=lambda m: (ORDER.index(m) if m in ORDER else 99, m))}


def pick(sources):
    return [family for family in families(sources, aside=True) if len(masks(family)) > 3]


def draw(*sources: Source):
    by_mask = masks(sources)
    figure, axes = style.canvas(1, 3, width=style.PAGE, height=0.6 + 0.2 * len(by_mask), sharey=True)
    looks = style.looks(("xent", "cat-xent"))
    for y, (mask, variant) in enumerate(by_mask.items()):
        row = variant.row
        look = looks["xent" if mask == "all" else "cat-xent"]
        look = look if mask in ("all", "either") else look | {"markerfacecolor": "white"}
        if row.difference:
            style.interval(axes[0, 0], y, row.difference, look)
        style.spread(axes[0, 1], y, row.s_d, look)
        style.spread(axes[0, 2], y, row.live, look, scale=100)
    style.zero(axes[0, 0])
    for panel, label in zip(axes[0], ("Δ AUDC to xent (× 100)", "s_d", "live tokens (%)"), strict=True):
        panel.set_xlabel(label)
        panel.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(by_mask)), by_mask)
    axes[0, 0].set_ylim(len(by_mask) - 0.5, -0.5)
    return figure


FIGURE = Figure(
    name="mask_ablation",
    caption="Cross-entropy on the target tokens that a mask keeps, by mask: no mask (`all`, which is `xent`), a random "
    "subset as large as the paper's (`random`), tokens that the small or the large model predicts (`either`, the "
    "paper's), and others. Left: difference in the area under the deferral curve to `xent`, with its 95 % interval. "
    "Middle: deferral gain between random (0) and the oracle (1). Right: share of target tokens kept. Lines: standard "
    "deviation over seeds.",
    pick=pick,
    draw=draw,
    wants="four or more masks trained alike, in one run or several: `python -m benchmarks run embedded_study`",
)
