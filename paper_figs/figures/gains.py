"""Which tasks the mask helps: the gain of each against what the mask drops there and what deferring could give."""

import numpy as np
from scipy.stats import spearmanr

from benchmarks.report.numbers import per_task
from benchmarks.report.plots import chance
from benchmarks.running import illustrate
from benchmarks.tasks import task
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import PREDICTIONS, Source

METHOD, BASELINE, FEWEST = "cat-xent", "xent", 3
KINDS = {"classification": style.COLOURS[0], "generation": style.COLOURS[1]}


def draw(source: Source):
    rows = points(source)
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=2.6, sharey=True)
    titles = {"dropped": "target tokens that neither model predicts (%)", "room": "large model − small model (points)"}
    for panel, (key, title) in zip(axes[0], titles.items(), strict=True):
        for kind, color in KINDS.items():
            for row in (row for row in rows if row["kind"] == kind):
                look = {"color": color, "marker": "o", "markersize": 3.5}
                fill = {"markerfacecolor": "white"} if row["verdict"] else {}
                style.interval(panel, row[key], row["gain"], look | fill, vertical=True)
            panel.plot([], [], "o", color=color, markersize=3.5, label=kind)
        rank = spearmanr([row[key] for row in rows], [row["gain"][0] for row in rows])
        panel.set_title(f"rank correlation {rank.statistic:+.2f}, p = {rank.pvalue:.2g}, {len(rows)} tasks")
        panel.set_xlabel(title)
        style.zero(panel, horizontal=True)
    axes[0, 0].set_ylabel(f"Δ AUDC of {METHOD} to {BASELINE} (× 100)")
    if any(row["verdict"] for row in rows):
        look = {"color": style.GREY, "markerfacecolor": "white", "markersize": 3.5}
        axes[0, 0].plot([], [], "o", **look, label="both models not above chance or the most frequent answer")
    style.legend(figure, axes[0, 0], 3)
    return figure


def points(source: Source) -> list[dict]:
    """Per task: its kind, `dropped` in %, `room` in points, the gain with its interval, AUDC in [0, 1], and `verdict`.

    The verdict is that of `chance.verdict`, "" where a model is above chance.
    """
    run, parts, rows = source.run, source.json(illustrate.LIVE)["parts"], []
    for comparison in per_task.comparisons(source.numbers):
        if (comparison["method"], comparison["status"]) != (METHOD, "ok"):
            continue
        name = comparison["task"]
        of_task = [part for part in parts if part["task"] == name]
        tokens, live = sum(part["tokens"] for part in of_task), sum(part["live"][0] for part in of_task)
        if not tokens:
            continue
        seeds = [seed for seed in run.seeds if (BASELINE, seed, name) in run.small]
        small = np.mean([run.small[BASELINE, seed, name]["quality"].mean() for seed in seeds])
        rows.append(
            {
                "task": name,
                "kind": task.get(name).kind,
                "dropped": 100 * (1 - live / tokens),
                "room": 100 * float(run.large[name]["quality"].mean() - small),
                "gain": (comparison["difference"], comparison["low"], comparison["high"]),
                "verdict": chance.verdict(source.numbers, (name,), name),
            }
        )
    return rows


def _suits(source: Source) -> bool:
    manifest = source.manifest
    return len(manifest.get("tasks", ())) >= FEWEST and {METHOD, BASELINE} <= set(manifest.get("methods", ()))


FIGURE = Figure(
    name="gains",
    caption="Gain in the area under the deferral curve of `cat-xent` over `xent`, task by task with 95 % intervals: "
    "against the share of target tokens that neither the large model nor the small one at its start predicts, which "
    "the mask leaves out (left), and against how much better the large model is than the small one (right). Hollow: "
    "neither the small model after `xent` nor the large one is above chance there, or above always giving the most "
    "frequent answer (95 % intervals).",
    pick=alone(_suits, (*PREDICTIONS, illustrate.LIVE)),
    draw=draw,
    wants="a run on three tasks or more, and its training observed: `python -m benchmarks illustrate study --data DIR`",
    files=(*PREDICTIONS, illustrate.LIVE),
)
