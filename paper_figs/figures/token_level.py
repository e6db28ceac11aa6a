"""Deferring tokens against deferring queries, on one cost–quality plot."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.report.numbers import costs
from benchmarks.report.reading.load import Run
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.curves import DeferralCurve, Outcomes, macro_average
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import PREDICTIONS, Source

FILE = "token_level.parquet"
COLUMNS = ("method", "rule", "alpha", "seed", "task", "id", "quality", "flops", "large_calls")
COSTS = {"flops": "FLOPs per query", "large_calls": "passes of the large model, one after the other"}


def points(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Mean quality and costs of each method, rule and alpha: over examples, then tasks, then seeds.

    Args:
        frame: one row per method, rule, alpha, seed and example: quality in [0, 1], FLOPs, passes of the large model.

    Raises:
        CatKerasError: a column is missing, or a setting does not answer the same examples of the run as the others.
    """
    if absent := [name for name in COLUMNS if name not in frame]:
        raise CatKerasError(f"{FILE} must have the columns {', '.join(COLUMNS)}; missing: {', '.join(absent)}")
    examples = set(zip(frame["task"], frame["id"], strict=True))
    of_run = {(name, id) for name in run.covered for id in run.examples[name].ids}
    setting = ["method", "rule", "alpha", "seed"]
    for key, rows in frame.groupby(setting):
        answered = set(zip(rows["task"], rows["id"], strict=True))
        if len(rows) != len(examples) or answered != examples or examples - of_run:
            raise CatKerasError(
                f"{FILE} must answer the same examples of the run in every setting, each once; {key} does not. "
                "Run it again"
            )
    by_task = frame.groupby([*setting, "task"])[["quality", *COSTS]].mean()
    by_seed = by_task.groupby(setting).mean()
    return by_seed.groupby(setting[:-1]).mean().reset_index()


def queries(run: Run, method: str, seeds, rows: Mapping[str, np.ndarray], cost: str) -> DeferralCurve:
    """The cascade of whole queries on the same examples, averaged over tasks, then seeds.

    Args:
        rows: task → places of its examples. cost: of `COSTS`; a deferred query takes a pass of the large model for each
            token of its answer.
    """
    curves = {
        (seed, name): _outcomes(run, method, seed, name, rows[name], cost).curve() for seed in seeds for name in rows
    }
    return macro_average({seed: macro_average({n: curves[seed, n] for n in rows}, rows) for seed in seeds}, seeds)


def _outcomes(run, method, seed, name, rows, cost):
    small, large = run.small[method, seed, name], run.large[name]
    score, quality = deferral.get(run.rule)(small), (small["quality"], large["quality"])
    paid = (small["flops"], large["flops"]) if cost == "flops" else (np.zeros(len(score)), _passes(large))
    return Outcomes(score[rows], *(column[rows] for column in (*quality, *paid)))


def _passes(answers) -> np.ndarray:
    return answers["token_logprobs"].lengths


def draw(source: Source):
    run, frame = source.run, pd.read_parquet(source.folder / FILE)
    table, ids_by_task = points(frame, run), frame.drop_duplicates(["task", "id"]).groupby("task")["id"].apply(set)
    rows = {name: np.flatnonzero([id in ids for id in run.examples[name].ids]) for name, ids in ids_by_task.items()}
    methods = [name for name in run.methods if name in set(table["method"])]
    cost_of_large = {"flops": lambda answers: answers["flops"], "large_calls": _passes}
    large_quality = np.mean([run.large[name]["quality"][rows[name]].mean() for name in rows])
    height = 0.7 + 2.3 * len(methods)
    figure, axes = style.canvas(len(methods), 2, width=style.PAGE, height=height, sharey=True)
    for line, method in zip(axes, methods, strict=True):
        seeds, marks = sorted(set(frame[frame["method"] == method]["seed"])), table[table["method"] == method]
        for panel, cost in zip(line, COSTS, strict=True):
            large_cost = np.mean([cost_of_large[cost](run.large[name])[rows[name]].mean() for name in rows])
            curve = queries(run, method, seeds, rows, cost)
            panel.plot(
                100 * costs.share(curve.cost, large_cost),
                100 * curve.quality,
                color="black",
                label=f"queries, {run.rule}",
            )
            _marks(panel, 100 * costs.share(marks[cost], large_cost), marks)
            panel.plot([100], [100 * large_quality], "k*", markersize=8, markerfacecolor="none", label="large alone")
            panel.set_xlim(left=0)
            if cost == "large_calls":  # here is room to show the marks again, at a scale that tells rules apart
                inset = panel.inset_axes([0.5, 0.1, 0.48, 0.48])
                _marks(inset, 100 * costs.share(marks[cost], large_cost), marks)
                inset.margins(0.08)
        line[0].set_title(f"small model after {method}", loc="left")
        line[0].set_ylabel("quality (× 100)")
    for panel, words in zip(axes[-1], COSTS.values(), strict=True):
        panel.set_xlabel(f"{words},\n% of the large model alone")
    style.legend(figure, axes[0, 0], 5)
    return figure


def _marks(panel, cost: pd.Series, table: pd.DataFrame):
    for look, (rule, marks) in zip(_looks(), table.groupby("rule"), strict=False):
        marks = marks.sort_values("alpha")
        panel.plot(cost[marks.index], 100 * marks["quality"], label=f"tokens, {rule}", **look)


def _looks():
    """Filled marks in every colour, then hollow ones."""
    for fill in ("full", "none"):
        for color, marker in zip(style.COLOURS[1:], style.MARKERS, strict=False):
            yield {"color": color, "marker": marker, "linestyle": ":", "fillstyle": fill, "markersize": 3.5}


FIGURE = Figure(
    name="token_level",
    caption="Deferring whole queries (black lines) against deferring tokens (marks: speculative cascades by rule, one "
    "mark for each α, greedy, where `token-v1` is `diff`), on the same examples of the generation tasks. Left: "
    "by FLOPs, where both models pay for every drafted token, also for those that do not stand. Right: by "
    "passes of the large model that have to wait for each other, which is what speculation saves; small panels: "
    "the marks again. Means over tasks and seeds.",
    pick=alone(files=(*PREDICTIONS, FILE)),
    draw=draw,
    wants=f"answers of token-level cascades beside a run's predictions, `{FILE}`: `python -m benchmarks token-level "
    "embedded` after that run",
    files=(*PREDICTIONS, FILE),
)
