"""Which tasks the mask helps: the gain of each against what the mask drops there and what deferring could give."""

import numpy as np
from scipy.stats import spearmanr

from benchmarks.report.numbers import per_task
from benchmarks.running import illustrate
from benchmarks.tasks import task
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import PREDICTIONS, Source

METHOD, BASELINE, FEWEST = "cat-xent", "xent", 3
KINDS = {"classification": style.COLOURS[0], "generation": style.COLOURS[1]}


def draw(source: Source):
    found = points(source)
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=2.6, sharey=True)
    titles = {"dropped": "target tokens that neither model predicts (%)", "room": "large model − small model (points)"}
    for panel, (key, title) in zip(axes[0], titles.items(), strict=True):
        for kind, color in KINDS.items():
            for i, point in enumerate(p for p in found if p["kind"] == kind):
                look = {"color": color, "marker": "o", "markersize": 3.5} | ({"label": kind} if i == 0 else {})
                style.interval(panel, point[key], point["gain"], look, vertical=True)
        rank = spearmanr([p[key] for p in found], [p["gain"][0] for p in found])
        panel.set_title(f"rank correlation {rank.statistic:+.2f}, p = {rank.pvalue:.2g}, {len(found)} tasks")
        panel.set_xlabel(title)
        style.zero(panel, horizontal=True)
    axes[0, 0].set_ylabel(f"Δ AUDC of {METHOD} to {BASELINE} (× 100)")
    style.legend(figure, axes[0, 0], 2)
    return figure


def points(source: Source) -> list[dict]:
    """Per task: its kind, `dropped` in %, `room` in points, and the gain with its interval, AUDC in [0, 1]."""
    run = source.run
    parts, found = source.json(illustrate.LIVE)["parts"], []
    for row in per_task.comparisons(source.numbers):
        if (row["method"], row["status"]) != (METHOD, "ok"):
            continue
        name = row["task"]
        own = [part for part in parts if part["task"] == name]
        tokens, live = sum(part["tokens"] for part in own), sum(part["live"][0] for part in own)
        seeds = [seed for seed in run.seeds if (BASELINE, seed, name) in run.small]
        small = np.mean([run.small[BASELINE, seed, name]["quality"].mean() for seed in seeds])
        found.append(
            {
                "task": name,
                "kind": task.get(name).kind,
                "dropped": 100 * (1 - live / tokens) if tokens else float("nan"),
                "room": 100 * float(run.large[name]["quality"].mean() - small),
                "gain": (row["difference"], row["low"], row["high"]),
            }
        )
    return [point for point in found if not np.isnan(point["dropped"])]


def _suits(source: Source) -> bool:
    manifest = source.manifest
    return len(manifest.get("tasks", ())) >= FEWEST and {METHOD, BASELINE} <= set(manifest.get("methods", ()))


FIGURE = Figure(
    name="gains",
    caption="Gain in the area under the deferral curve of `cat-xent` over `xent`, task by task with 95 % intervals: "
    "against the share of target tokens that neither the large model nor the small one at its start predicts, which "
    "the mask leaves out (left), and against how much better the large model is than the small one (right).",
    pick=alone(_suits, (*PREDICTIONS, illustrate.LIVE)),
    draw=draw,
    wants="a run on three tasks or more, and its training observed: `python -m benchmarks illustrate study --data DIR`",
    files=(*PREDICTIONS, illustrate.LIVE),
)
