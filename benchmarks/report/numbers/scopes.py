"""What averages are taken over, which is all tasks, a suite, a cluster or one task; and curves averaged over each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.report.numbers import costs
from benchmarks.report.numbers.averages import pooled
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.reading.load import Columns, Run
from benchmarks.tasks import task
from cat_keras.evaluation.bands import GRID, Band
from cat_keras.evaluation.curves import DeferralCurve, Outcomes, macro_average


@dataclass(frozen=True)
class Scope:
    """Tasks that an average is over.

    Attributes:
        name: as `Summary.scopes` and `Summary.bands` call it. label: as shown.
        tasks: those that the large model answered. lacks: those that it did not answer.
    """

    name: str
    label: str
    tasks: tuple[str, ...]
    lacks: tuple[str, ...] = ()


def averages(summary: Summary) -> list[Scope]:
    """All tasks, then each suite and each cluster of more than one task; of several with equal tasks the first."""
    run, by_tasks = summary.run, {}
    for name, tasks in summary.scopes().items():
        if name == "all":
            scope = Scope(name, "all tasks", tasks, tuple(other for other in run.tasks if other not in tasks))
            by_tasks.setdefault(tasks, scope)
        elif len(tasks) > 1:
            by_tasks.setdefault(tasks, Scope(name, name.replace("_", " "), tasks, tuple(_uncovered(run, name))))
    return list(by_tasks.values())


def _uncovered(run: Run, scope: str) -> Iterator[str]:
    """Tasks of the suite or cluster that the large model did not answer."""
    group = scope.partition(": ")[2]
    for name in run.tasks:
        declared = task.get(name)
        if name not in run.covered and group in (declared.cluster, *declared.suites):
            yield name


def single(run: Run) -> list[Scope]:
    """One scope per covered task."""
    return [Scope(name, f"task: {name}", (name,)) for name in run.covered]


class Curves:
    """Curves over any kind of cost; that of a cell is computed once.

    Args:
        summary: of the run. prices: of tokens, where the user gave them.

    Attributes:
        kinds: name → kind of cost that is known of every answer.
    """

    def __init__(self, summary: Summary, prices: costs.Prices | None = None):
        self.summary, self.run, self.prices = summary, summary.run, prices
        self.kinds = {kind.name: kind for kind in costs.known(self.run, prices)}
        self.cell = cache(self._cell)

    def seeds(self, method: str, scope: Scope) -> tuple[int, ...]:
        """Seeds of a method that have every task of the scope; an average takes no others."""
        if not scope.tasks:
            return ()
        seeds, cells = self.run.expected_seeds(method), self.summary.cells
        return tuple(seed for seed in seeds if all((method, seed, name) in cells for name in scope.tasks))

    def incomplete(self, method: str, scope: Scope) -> bool:
        """Whether the average lacks a task or a seed."""
        return bool(scope.lacks) or len(self.seeds(method, scope)) < len(self.run.expected_seeds(method))

    def curve(self, method: str, scope: Scope, kind: str = costs.FLOPS.name, rule: str = "") -> DeferralCurve | None:
        """Exact mean over tasks and complete seeds, over the cost of that kind; None without a complete seed."""
        by_seed = {
            seed: macro_average({name: self.cell(method, seed, name, kind, rule) for name in scope.tasks}, scope.tasks)
            for seed in self.seeds(method, scope)
        }
        return pooled(by_seed)

    def mean(self, method: str, scope: Scope, column: str, rule: str = "") -> np.ndarray | None:
        """(len(GRID),) float64: mean over tasks and complete seeds at the deferral rates of `GRID`.

        Args:
            column: `"quality"` in [0, 1] or the name of a kind of cost. rule: by default that of the run.
        """
        kind = costs.FLOPS.name if column == "quality" else column  # the quality is that over any cost
        rows = []
        for seed in self.seeds(method, scope):
            for name in scope.tasks:
                curve = self.cell(method, seed, name, kind, rule)
                values = curve.quality if column == "quality" else curve.cost
                rows.append(np.interp(GRID, curve.deferral_rate, values))
        return np.mean(rows, axis=0) if rows else None

    def band(self, method: str, scope: Scope, versus: str | None = None) -> Band | None:
        """Bootstrap band of the quality on `GRID`, or of its difference to `versus`; None without a complete seed."""
        return self.summary.bands(versus).get(scope.name, {}).get(method)

    def large(self, scope: Scope, column: str) -> float:
        """Quality or cost of the large model alone, averaged over the tasks; NaN without any."""
        values = [self.column("large", self.run.large[name], column).mean() for name in scope.tasks]
        return float(np.mean(values)) if values else float("nan")

    def column(self, model: str, answers: Columns, column: str) -> np.ndarray:
        """(n,) float64: `"quality"`, or a kind of cost, of the answers of `"small"` or `"large"`."""
        if column == "quality":
            return answers["quality"]
        return costs.column(model, answers, self.kinds[column], getattr(self.prices, model, None))

    def _cell(self, method: str, seed: int, name: str, kind: str, rule: str) -> DeferralCurve:
        cell, rule = self.summary.cells[method, seed, name], rule or self.run.rule
        if kind == costs.FLOPS.name:
            return cell.curve(rule)
        outcomes = cell.outcomes(rule)
        cost_small, cost_large = (self.column(model, getattr(cell, model), kind) for model in ("small", "large"))
        return Outcomes(outcomes.score, outcomes.quality_small, outcomes.quality_large, cost_small, cost_large).curve()
