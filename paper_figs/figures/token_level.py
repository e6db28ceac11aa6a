"""Deferring tokens against deferring queries, on one cost–quality plot."""

import pandas as pd

from benchmarks.report.load import Run
from cat_keras.errors import CatKerasError
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import PREDICTIONS, Source

FILE = "token_level.parquet"
COLUMNS = ("method", "rule", "alpha", "seed", "task", "id", "quality", "flops")


def points(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Mean quality and cost of each method, rule and alpha: over examples, then tasks, then seeds.

    Args:
        frame: one row per method, rule, alpha, seed and example, with quality in [0, 1] and FLOPs per query.

    Raises:
        CatKerasError: a column or an example of some setting is missing.
    """
    if absent := [name for name in COLUMNS if name not in frame]:
        raise CatKerasError(f"{FILE} must have the columns {', '.join(COLUMNS)}; missing: {', '.join(absent)}")
    setting = ["method", "rule", "alpha", "seed"]
    wanted = {(name, example.id) for name in run.covered for example in run.examples[name]}
    for key, rows in frame.groupby(setting):
        if len(rows) != len(wanted) or set(zip(rows["task"], rows["id"], strict=True)) != wanted:
            raise CatKerasError(f"{FILE} must answer every example of the run once; {key} does not. Run it again")
    by_task = frame.groupby([*setting, "task"])[["quality", "flops"]].mean()
    by_seed = by_task.groupby(setting).mean()
    return by_seed.groupby(setting[:-1]).mean().reset_index()


def draw(source: Source):
    numbers, run = source.numbers, source.run
    table = points(pd.read_parquet(source.folder / FILE), run)
    figure, axes = style.canvas(1, 1, height=2.9)
    panel = axes[0, 0]
    for method, look in style.looks(run.methods).items():
        curve = numbers.row(method).curve if method in set(table["method"]) else None
        if curve:
            x = 100 * curve.cost / numbers.large_cost
            panel.plot(x, 100 * curve.quality, **look | {"marker": ""}, label=f"queries, {method}")
    free = zip(style.COLOURS[::-1], style.MARKERS[::-1], strict=True)
    for (color, marker), ((method, rule), rows) in zip(free, table.groupby(["method", "rule"]), strict=False):
        look = {"color": color, "marker": marker, "linestyle": ":"}
        rows = rows.sort_values("alpha")
        x = 100 * rows["flops"] / numbers.large_cost
        panel.plot(x, 100 * rows["quality"], **look, label=f"tokens, {rule}, {method}")
    panel.set_xlabel("FLOPs per query, % of the large model alone")
    panel.set_ylabel("quality (× 100)")
    panel.set_xlim(left=0)
    panel.set_ylim(auto=True)
    style.legend(figure, panel, 2)
    return figure


FIGURE = Figure(
    name="token_level",
    caption="Deferring whole queries (lines, `chow-average`) against deferring tokens (marks: speculative cascades by "
    "rule, one mark for each α), quality by FLOPs per query; means over tasks and seeds.",
    pick=alone(files=(*PREDICTIONS, FILE)),
    draw=draw,
    wants=f"answers of token-level cascades beside a run's predictions: `{FILE}`, with {', '.join(COLUMNS)}; "
    "no command writes it yet",
    files=(*PREDICTIONS, FILE),
)
