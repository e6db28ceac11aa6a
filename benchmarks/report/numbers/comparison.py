"""Numbers of two sides that are compared, of the rows that `benchmarks.keeping.compare` writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow

from benchmarks.report.numbers.summary import DRAWS, RESAMPLES
from benchmarks.report.reading.analysis import facts
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, bootstrap_audc, pool_seeds
from cat_keras.evaluation.curves import Outcomes, macro_average, oracle_audc

ALL = "all tasks"
SIDES = ("A", "B")
LARGE = "large model"  # stands for a method; one training in each run
ALONE = "alone "  # before the name of a model: the small model without a cascade
Seeds = tuple[tuple[int, int], ...]  # (place of the run on its side, seed of the small model), of the large model −1


@dataclass(frozen=True)
class Line:
    """One method on one task, or averaged over the tasks compared. Pairs are (A, B).

    Attributes:
        task: its name or `ALL`. method. audc, alone, quarter, s_d: area under the deferral curve, quality of the small
            model alone and at 25 % deferral in [0, 1], deferral gain; means over trainings. audc_difference,
            alone_difference: B − A with its 95 % interval.
    """

    task: str
    method: str
    audc: tuple[float, float]
    audc_difference: Interval
    alone: tuple[float, float]
    alone_difference: Interval
    quarter: tuple[float, float]
    s_d: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """lines: see `Line`, averages first. large: task or `ALL` → quality of the large model alone, mean over its
    trainings, and large_difference B − A of it with its 95 % interval. facts: what the table says of itself: the
    sides' runs, tasks, methods, tasks with other examples in either, and notes."""

    lines: tuple[Line, ...]
    large: Mapping[str, tuple[float, float]]
    large_difference: Mapping[str, Interval]
    facts: Mapping

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know, in words."""
        return tuple(self.facts["notes"])


def compared(table: pyarrow.Table) -> Comparison:
    """All numbers of a table; on tasks where both sides were asked the same, both get the same resamples."""
    said = facts(table)
    both = _Both(table, said["tasks"], said["methods"], said["unpaired"])
    lines = tuple(both.line(name, method) for name in (ALL, *said["tasks"]) for method in said["methods"])
    larges = {name: both.difference(LARGE, name, ALONE) for name in (ALL, *said["tasks"])}
    large, differences = ({name: found[i] for name, found in larges.items()} for i in (0, 1))
    return Comparison(lines, large, differences, said)


class _Both:
    """Outcomes and resamples of both sides on the shared tasks."""

    def __init__(self, table: pyarrow.Table, tasks: Sequence[str], methods: Sequence[str], unpaired: Sequence[str]):
        self.tasks = tasks
        self.outcomes = [{}, {}]  # of a side: (method, run, seed, task) → Outcomes
        for key, rows in table.to_pandas().groupby(["side", "method", "run", "seed", "task"], sort=True):
            columns = (rows[name].to_numpy() for name in ("score", "quality_small", "quality_large"))
            side, method, run, seed, name = key
            own = Outcomes(*columns, ids=rows["id"].to_numpy())
            self.outcomes[SIDES.index(side)][method, run, seed, name] = own
            # The large model is the same one beside every small model of a run.
            large = Outcomes(own.score, own.quality_large, own.quality_large, ids=own.ids)
            self.outcomes[SIDES.index(side)].setdefault((LARGE, run, -1, name), large)
        self.seeds = {method: tuple(self._seeds(side, method) for side in (0, 1)) for method in (*methods, LARGE)}
        models = [{name: self._models(side, name) for name in tasks} for side in (0, 1)]
        together = {name: models[0][name] | models[1][name] for name in tasks if name not in unpaired}
        parts = [bootstrap_audc(together, np.random.default_rng(DRAWS), RESAMPLES)] if together else []
        self.samples = [dict(_by_task(part)) for part in parts * 2] or [{}, {}]
        for side in (0, 1):
            apart = {name: models[side][name] for name in unpaired}
            own = np.random.default_rng([DRAWS, side])  # or both sides would draw the same rows of other examples
            self.samples[side] |= dict(_by_task(bootstrap_audc(apart, own, RESAMPLES))) if apart else {}

    def _seeds(self, side: int, method: str) -> Seeds:
        return tuple(sorted({(run, seed) for own, run, seed, _ in self.outcomes[side] if own == method}))

    def _models(self, side: int, name: str) -> dict[str, Outcomes]:
        found = {}
        for (method, run, seed, task), own in self.outcomes[side].items():
            if task == name:
                found[_model(side, method, run, seed)] = own
                # The area under a curve that stays where it starts is the quality there.
                alone = Outcomes(own.score, own.quality_small, own.quality_small, ids=own.ids)
                found[ALONE + _model(side, method, run, seed)] = alone
        return found

    def line(self, name: str, method: str) -> Line:
        """The numbers of a method on a task or on `ALL`."""
        audc, alone = (self.difference(method, name, prefix) for prefix in ("", ALONE))
        pairs = [[self._of_training(side, method, *key, name) for key in self.seeds[method][side]] for side in (0, 1)]
        quarter, s_d = (tuple(float(np.mean([found[i] for found in side])) for side in pairs) for i in (0, 1))
        return Line(name, method, *audc, *alone, quarter, s_d)

    def _of_training(self, side: int, method: str, run: int, seed: int, name: str) -> tuple[float, float]:
        """Quality at 25 % deferral, and the ratio s_d of averages over tasks, as in the report."""
        tasks = self._named(name)
        own = {task: self.outcomes[side][method, run, seed, task] for task in tasks}
        curve = macro_average({task: outcomes.curve() for task, outcomes in own.items()}, tasks)
        oracle = np.mean([oracle_audc(outcomes.quality_small, outcomes.quality_large) for outcomes in own.values()])
        return curve.quality_at(0.25), curve.s_d(float(oracle))

    def difference(self, method: str, name: str, prefix: str = "") -> tuple[tuple[float, float], Interval]:
        """The areas (A, B), or with `ALONE` the qualities without a cascade, and B − A with its interval."""
        tasks = self._named(name)
        pooled = [self._pooled(side, method, tasks, prefix) for side in (0, 1)]
        both = AudcBootstrap(
            tuple(tasks), SIDES,
            np.concatenate([each.task_estimates for each in pooled], axis=1),
            np.concatenate([each.task_samples for each in pooled], axis=2),
        )  # fmt: skip
        a, b = both.estimates()
        return (float(a), float(b)), both.interval("B", versus="A")

    def _pooled(self, side: int, method: str, tasks: Sequence[str], prefix: str) -> AudcBootstrap:
        """Over trainings; sides with the same ones draw the same, since these share their order of the data."""
        seeds = self.seeds[method]
        models = tuple(prefix + _model(side, method, *key) for key in seeds[side])
        found = [self.samples[side][name] for name in tasks]
        estimates = np.array([[estimate[m] for m in models] for estimate, _ in found])
        samples = np.stack([np.stack([sample[m] for m in models], axis=1) for _, sample in found])
        first = AudcBootstrap(tuple(tasks), models, estimates, samples)
        draw = np.random.default_rng(DRAWS if seeds[0] == seeds[1] else [DRAWS, side])
        return pool_seeds(first, {method: models}, draw)

    def _named(self, name: str) -> Sequence[str]:
        return self.tasks if name == ALL else (name,)


def _model(side: int, method: str, run: int, seed: int) -> str:
    return f"{SIDES[side]}/{method}/{run}/{seed}"


def _by_task(result: AudcBootstrap) -> Iterator[tuple[str, tuple[dict, dict]]]:
    """(task, (model → estimate, model → samples)) of each task."""
    for t, name in enumerate(result.tasks):
        estimates = dict(zip(result.methods, result.task_estimates[t], strict=True))
        yield name, (estimates, dict(zip(result.methods, result.task_samples[t].T, strict=True)))
