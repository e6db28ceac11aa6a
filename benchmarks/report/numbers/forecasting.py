"""What a mask is expected to gain on tasks, by a rule of thumb that a sweep gives, and whether that came true.

The rule is the regression of Δ AUDC on `sweep.FEATURES` over the points of a sweep. It reads of a task what validation
data and training say, and nothing of the test data that it is judged on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow

from benchmarks.report.numbers import grids, qualifying
from benchmarks.report.numbers.pairs import spearman
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.numbers.sweep import FEATURES, Standing, standings
from benchmarks.report.reading import analysis
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.bootstrap import Interval

METHOD, VERSUS, RESPONSE = "cat-xent", "xent", "audc"
COEFFICIENT, TASK = "coefficient", "task"  # kinds of rows


@dataclass(frozen=True, eq=False)
class Forecast:
    """One task.

    Attributes:
        task: its name. measured: feature → value, see `sweep.Place`.
        expected: (1 + R,) Δ AUDC by the rule, of the sweep itself and of each resample of it.
        found: (1 + R,) Δ AUDC on test data, of the data themselves and of each resample; None where nobody has looked.
    """

    task: str
    measured: Mapping[str, float]
    expected: np.ndarray
    found: np.ndarray | None = None

    @property
    def right(self) -> bool:
        """Whether the sign came true."""
        return bool(np.sign(self.expected[0]) == np.sign(self.found[0]))


@dataclass(frozen=True, eq=False)
class Judgement:
    """How well forecasts of several tasks came true.

    Attributes:
        forecasts: of tasks that were looked at.
    """

    forecasts: Sequence[Forecast]

    @cached_property
    def correlation(self) -> Interval:
        """Spearman's rank correlation of expected and found, with its interval over tasks, examples and seeds."""
        return self._correlation(drawing=True)

    @cached_property
    def correlation_of_these(self) -> Interval:
        """The same with its interval over examples and seeds, these tasks as they are."""
        return self._correlation(drawing=False)

    @property
    def signs(self) -> float:
        """The share of tasks whose sign came true."""
        return float(np.mean([forecast.right for forecast in self.forecasts]))

    def _correlation(self, drawing: bool) -> Interval:
        expected, found = (np.array([getattr(f, name) for f in self.forecasts]) for name in ("expected", "found"))
        rng, every = np.random.default_rng(0), np.arange(len(expected))
        values = [spearman(expected[:, 0], found[:, 0])]
        for r in range(1, expected.shape[1]):
            tasks = rng.choice(every, len(every)) if drawing else every
            values.append(spearman(expected[tasks, r], found[tasks, r]))
        return Interval.of_defined(np.array(values))


def standing(table: pyarrow.Table) -> Standing:
    """The points of a sweep that give the rule, of its rows.

    Raises:
        CatKerasError: the sweep does not compare the two methods, or has too few points.
    """
    for found in standings(table):
        if (found.method, found.versus) == (METHOD, VERSUS) and rule(found):
            return found
    raise CatKerasError(
        f"A rule of thumb is a regression of {METHOD} minus {VERSUS} on {', '.join(FEATURES)} over the points of a "
        f"sweep. Received: {analysis.facts(table)['name']}, which lacks this difference or has too few points. Make "
        "more of it: python -m benchmarks sweep embedded_map"
    )


def rule(points: Standing) -> dict[str, np.ndarray]:
    """ "constant" and each of `sweep.FEATURES` → (1 + R,) coefficients of Δ AUDC; {} of too few points."""
    return points.coefficients(RESPONSE, FEATURES)


def beyond(points: Standing, measured: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    """Feature → tasks on which it lies outside of what the points of the sweep have, where there are such tasks."""
    ends = {name: [f([place.measured[name] for place in points.places]) for f in (min, max)] for name in FEATURES}
    outside = {
        name: [task for task, of_task in measured.items() if of_task[name] < low or of_task[name] > high]
        for name, (low, high) in ends.items()
    }
    return {name: tasks for name, tasks in outside.items() if tasks}


def features(summary: Summary, live: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Task → feature → value, of a run on validation data; of a grid, the best point of each objective.

    Args:
        live: task → share of live target tokens, of tasks where that is known; the others have the run's.

    Raises:
        CatKerasError: the run does not have both methods, or no share of live tokens.
    """
    method, versus = (grids.best_point(summary, name) for name in (METHOD, VERSUS))
    of_run = summary.run.live(method)
    if not of_run:
        raise CatKerasError(
            f"A training of {method} has a share of live tokens. Received: {summary.run.folder}, which notes none"
        )
    return {
        room.task: {
            "headroom": room.lead,
            "live": live.get(room.task, float(np.mean(of_run))),
            "auroc": room.auroc,
        }
        for room in qualifying.rooms(summary, versus, -1, 0)
    }


def forecasts(points: Standing, measured: Mapping[str, Mapping[str, float]]) -> list[Forecast]:
    """What the rule expects of tasks, by their `features`."""
    coefficients = rule(points)
    return [Forecast(name, of_task, expected(coefficients, of_task)) for name, of_task in measured.items()]


def rows(
    table: pyarrow.Table, measured: Mapping[str, Mapping[str, float]], test: Summary, facts: Mapping
) -> pyarrow.Table:
    """The coefficients of the rule and the differences on test data with their resamples, for `judge`.

    Args:
        table: the rows of a sweep. measured: see `features`. test: the run on test data. facts: more to say of them.

    Raises:
        CatKerasError: as for `standing`; or the run on test data lacks a method or all tasks.
    """
    points = standing(table)
    coefficients = rule(points)
    method, versus = (grids.only_point(test, name) for name in (METHOD, VERSUS))
    asked = [name for name in test.run.covered if name in measured]
    undefined = [name for name in asked if np.isnan(list(measured[name].values())).any()]
    differences = {n: test.intervals.differences(method, versus, (n,)) for n in asked if n not in undefined}
    found = {name: values for name, values in differences.items() if values is not None}
    if not found:
        raise CatKerasError(
            f"Forecasts are judged on tasks of both runs, with answers that are right and wrong. Received: "
            f"{test.run.folder}, which has none of: {', '.join(measured)}"
        )
    count = min(len(values) for values in (*coefficients.values(), *found.values()))
    parts = [(COEFFICIENT, name, values) for name, values in coefficients.items()]
    parts += [(TASK, name, values) for name, values in found.items()]
    of, named, values = zip(*parts, strict=True)
    made = analysis.of_resamples({"kind": of, "name": named}, [each[:count] for each in values], "value")
    kept = {name: dict(measured[name]) for name in found}
    about = {"undefined": undefined, "measured": kept, "beyond": beyond(points, kept)}
    return analysis.described(made, {**facts, **about})


def judge(table: pyarrow.Table) -> Judgement:
    """The forecasts of the tasks of `rows`, with what was found."""
    frame = table.to_pandas()
    values = {key: part.sort_values("resample")["value"].to_numpy() for key, part in frame.groupby(["kind", "name"])}
    coefficients = {name: value for (kind, name), value in values.items() if kind == COEFFICIENT}
    measured = analysis.facts(table)["measured"]
    return Judgement(
        [
            Forecast(name, of_task, expected(coefficients, of_task), values[TASK, name])
            for name, of_task in measured.items()
        ]
    )


def expected(coefficients: Mapping[str, np.ndarray], measured: Mapping[str, float]) -> np.ndarray:
    """(1 + R,) Δ AUDC that a rule gives for the features of a task; NaN where one of them is not defined."""
    return coefficients["constant"] + sum(coefficients[name] * measured[name] for name in FEATURES)
