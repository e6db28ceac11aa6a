"""What each objective gains over `xent`, task by task."""

import numpy as np

from benchmarks.report.numbers import per_task
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source


def draw(source: Source):
    records = [row for row in per_task.comparisons(source.numbers) if row["status"] == "ok"]
    tasks = [name for name in source.run.covered if any(row["task"] == name for row in records)]
    methods = tuple(method for method in source.run.methods if any(row["method"] == method for row in records))
    figure, axes = style.canvas(1, 1, height=0.9 + (0.1 + 0.085 * len(methods)) * len(tasks))
    panel, offsets = axes[0, 0], np.linspace(-0.3, 0.3, len(methods))
    looks = style.looks(methods)
    for row in records:
        y = tasks.index(row["task"]) + offsets[methods.index(row["method"])]
        look = looks[row["method"]] | {"markersize": 3.5}
        sure = {} if row["outcome"] in ("win", "loss") else {"markerfacecolor": "white"}
        style.interval(panel, y, (row["difference"], row["low"], row["high"]), look | sure)
    for method, look in looks.items():
        panel.plot([], [], label=method, **look | {"linestyle": ""})
    style.zero(panel)
    panel.set_yticks(range(len(tasks)), [name.removeprefix("embedded_") for name in tasks])
    panel.set_ylim(len(tasks) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"Δ AUDC to {source.numbers.baseline} (× 100)")
    style.legend(figure, panel, 4)
    return figure


FIGURE = Figure(
    name="task_deltas",
    caption="Difference in the area under the deferral curve to `xent`, task by task, with 95 % intervals (examples "
    "and seeds resampled). Filled marks: different from 0 after Holm's correction over the tasks, at 5 %.",
    pick=alone(lambda source: len(source.manifest.get("methods", ())) > 1),
    draw=draw,
    wants="predictions of two methods or more: `python -m benchmarks run`",
)
