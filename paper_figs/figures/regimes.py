"""Where the mask helps: what each objective changes, run by run."""

import csv
import io

import numpy as np

from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source

METHODS = ("dist", "cat-xent", "cat-dist", "mask-random")
# Measure → (what it is called, scale of the axis).
MEASURES = {"s_d": ("Δ s_d", 1), "audc": ("Δ AUDC (× 100)", 100), "cost": ("cost at equal quality (%)", 100)}
WIDEST = {"s_d": 1.0, "audc": 6.0, "cost": 100.0}  # axes end here; an interval beyond it says only that it is wide
CHANGES = "changes.csv"
FILES = (CHANGES, "manifest.json")


def pick(sources):
    sources = sorted(sources, key=lambda source: source.aside)
    suits = [s for s in sources if s.has(*FILES) and {"xent", "cat-xent"} <= set(s.manifest["methods"])]
    return [tuple(suits)] if len(suits) > 2 else []


def changes(source: Source) -> dict[tuple[str, str], tuple[float, float, float]]:
    """(method, measure) → estimate and interval of the change against `xent` over all tasks of a run."""
    text = (source.folder / CHANGES).read_text(encoding="utf-8")
    return {
        (row["method"], row["measure"]): tuple(float(row[key] or "nan") for key in ("estimate", "low", "high"))
        for row in csv.DictReader(io.StringIO(text))
        if (row["baseline"], row["scope"]) == ("xent", "all")
        and row["method"] in METHODS
        and row["measure"] in MEASURES
    }


def draw(*sources: Source):
    by_run = {source: changes(source) for source in sources}
    methods = tuple(m for m in METHODS if any((m, "s_d") in of_run for of_run in by_run.values()))
    looks, offsets = style.looks(methods), np.linspace(-0.3, 0.3, len(methods))
    figure, axes = style.canvas(1, 3, width=style.PAGE, height=0.9 + 0.4 * len(by_run), sharey=True)
    for panel, (measure, (label, scale)) in zip(axes[0], MEASURES.items(), strict=True):
        for y, of_run in enumerate(by_run.values()):
            for method, offset in zip(methods, offsets, strict=True):
                change = of_run.get((method, measure))
                if change and np.isfinite(change[0]):
                    within = np.clip(np.multiply(scale, change), -WIDEST[measure], WIDEST[measure])
                    style.interval(panel, y + offset, within, looks[method] | {"markersize": 3.5}, scale=1)
        style.zero(panel)
        panel.set_xlabel(label)
        panel.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(by_run)), [source.folder.name for source in by_run])
    axes[0, 0].set_ylim(len(by_run) - 0.5, -0.5)
    for method, look in looks.items():
        axes[0, 0].plot([], [], label=method, **look | {"linestyle": ""})
    style.legend(figure, axes[0, 0], 4)
    return figure


FIGURE = Figure(
    name="regimes",
    caption="What each objective changes against `xent`, run by run, with 95 % intervals over examples and seeds: "
    "deferral gain s_d, area under the deferral curve, and cost at the quality that the cascade of `xent` has at 50 % "
    "deferral (below 0 is cheaper). `mask-random` leaves out as many tokens as `cat-xent`, but random ones. Axes end "
    "at 1, 6 points and 100 %; what lies beyond is drawn at the end.",
    pick=pick,
    draw=draw,
    wants="three or more runs with `xent` and `cat-xent`: `python -m benchmarks run embedded_noise0`, and others",
    files=FILES,
)
