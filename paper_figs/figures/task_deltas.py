"""What each objective gains over `xent`, task by task."""

import numpy as np

from benchmarks.report.numbers import per_task
from benchmarks.report.plots import chance
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source


def draw(source: Source):
    numbers, run = source.numbers, source.run
    records = [row for row in per_task.comparisons(numbers) if row["status"] == "ok"]
    tasks = [name for name in run.covered if any(row["task"] == name for row in records)]
    methods = tuple(method for method in run.methods if any(row["method"] == method for row in records))
    figure, axes = style.canvas(1, 1, height=0.9 + (0.1 + 0.085 * len(methods)) * len(tasks))
    panel, offsets = axes[0, 0], np.linspace(-0.3, 0.3, len(methods))
    looks = style.looks(methods)
    for row in records:
        y = tasks.index(row["task"]) + offsets[methods.index(row["method"])]
        look = looks[row["method"]] | {"markersize": 3.5}
        fill = {} if row["outcome"] in ("win", "loss") else {"markerfacecolor": "white"}
        style.interval(panel, y, (row["difference"], row["low"], row["high"]), look | fill)
    for method, look in looks.items():
        panel.plot([], [], label=method, **look | {"linestyle": ""})
    style.zero(panel)
    panel.set_yticks(range(len(tasks)), [_label(numbers, name) for name in tasks])
    for tick, name in zip(panel.get_yticklabels(), tasks, strict=True):
        tick.set_color(style.GREY if chance.verdict(numbers, (name,), name) else "black")
    panel.set_ylim(len(tasks) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"Δ AUDC to {numbers.baseline} (× 100)")
    style.legend(figure, panel, 4)
    return figure


def _label(numbers, name: str) -> str:
    """The task, and below it whether both models are no better than chance."""
    verdict = chance.verdict(numbers, (name,), name)
    return name.removeprefix("embedded_") + (f"\n{verdict}".replace("most ", "most\n") if verdict else "")


FIGURE = Figure(
    name="task_deltas",
    caption="Difference in the area under the deferral curve to `xent`, task by task, with 95 % intervals (examples "
    "and seeds resampled). Filled marks: different from 0 after Holm's correction over the tasks, at 5 %. Grey: "
    "neither the small model after `xent` nor the large one is above chance there, or above always giving the most "
    "frequent answer (95 % intervals), so that deferring cannot be expected to help.",
    pick=alone(lambda source: len(source.manifest.get("methods", ())) > 1),
    draw=draw,
    wants="predictions of two methods or more: `python -m benchmarks run`",
)
