"""What share of the target tokens the mask keeps while the small model learns, by cluster and by stratum."""

from collections.abc import Iterable

import numpy as np

from benchmarks.running import illustrate
from benchmarks.tasks import task
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source


def draw(source: Source):
    record = source.json(illustrate.LIVE)
    steps, parts = np.array(record["steps"]), record["parts"]
    views = {"cluster": lambda part: task.get(part["task"]).cluster}
    if any(part["group"] for part in parts):
        views["stratum"] = lambda part: part["group"]
    figure, axes = style.canvas(1, len(views), width=style.COLUMN * len(views), height=2.4, sharey=True)
    for panel, (title, key) in zip(axes[0], views.items(), strict=True):
        for number, (name, live) in enumerate(sorted(shares(parts, key).items())):
            panel.plot(steps, 100 * live, label=name.replace("_", " "), **style.nth_look(number) | {"markersize": 2.5})
        panel.set(title=f"by {title}", xlabel="step")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    axes[0, 0].set_ylabel("live target tokens (%)")
    return figure


def shares(parts: Iterable[dict], key) -> dict[str, np.ndarray]:
    """Share of live tokens by step of all parts with the same key, each part weighing as many tokens as it has."""
    live, tokens = {}, {}
    for part in parts:
        name = key(part)
        live[name] = live.get(name, 0) + np.array(part["live"])
        tokens[name] = tokens.get(name, 0) + part["tokens"]
    return {name: live[name] / tokens[name] for name in live}


FIGURE = Figure(
    name="live_tokens",
    caption="Share of target tokens that the mask of cascade-aware training keeps (predicted by the small model as it "
    "is at that step, or by the large one) while the small model trains with `cat-xent`, on a fixed sample of the "
    "training examples, by cluster of tasks and, where examples have one, by stratum. One seed.",
    pick=alone(files=(illustrate.LIVE,)),
    draw=draw,
    wants="the training observed on its sample: `python -m benchmarks illustrate embedded` after that run",
    files=(illustrate.LIVE,),
)
