"""Intervals, tests and bands of a run: paired resamples of the examples of each task, and of the seeds."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.reading.load import START, Key, Run
from cat_keras.evaluation.bands import Band, bootstrap_bands
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, bootstrap_audc, pool_seeds
from cat_keras.evaluation.curves import Outcomes

RESAMPLES = 10_000  # the least p-value is 2 / RESAMPLES, and is multiplied by the number of tasks
BAND_RESAMPLES = 1000
DRAWS = 2406  # seed of every resampling: the same run gives the same interval to the last digit

Scopes = Mapping[str, Sequence[str]]


class Intervals:
    """Resamples of every task, drawn once on first use and shared by all averages that the task is part of.

    A task's resamples depend on no other task, so an average has the same interval whatever else the report shows.

    Args:
        run: of all tasks. cells: of it.
    """

    def __init__(self, run: Run, cells: Mapping[Key, Cell]):
        self._run, self._cells = run, cells
        self._by_task: dict[str, AudcBootstrap] = {}

    def seeds(self, method: str, tasks: Iterable[str]) -> tuple[int, ...]:
        """Seeds of a method that have all the tasks."""
        seeds = self._run.start_seeds if method == START else self._run.seeds
        return tuple(seed for seed in seeds if all((method, seed, name) in self._cells for name in tasks))

    def of(self, method: str, tasks: Sequence[str]) -> Interval | None:
        """Of a method's AUDC, averaged over tasks and seeds; None without a complete seed."""
        pooled = self._pooled([method], self.seeds(method, tasks), tasks)
        return pooled.interval(method) if pooled else None

    def versus(self, method: str, baseline: str, tasks: Sequence[str]) -> tuple[Interval, float] | None:
        """Difference of two methods' AUDC on the seeds that both have, and its p-value; None for one and the same."""
        shared = self.shared(method, baseline, tasks)
        pooled = self._pooled([method, baseline], shared, tasks) if method != baseline else None
        return (pooled.interval(method, baseline), pooled.p_value(method, baseline)) if pooled else None

    def shared(self, method: str, other: str, tasks: Sequence[str]) -> tuple[int, ...]:
        theirs = self.seeds(other, tasks)
        return tuple(seed for seed in self.seeds(method, tasks) if seed in theirs)

    def bands(self, scopes: Scopes, versus: str | None = None) -> dict[str, dict[str, Band]]:
        """Scope → method → band of its curve, or of the difference to `versus`; see `bootstrap_bands`."""
        found: dict[str, dict[str, Band]] = {name: {} for name in scopes}
        for (methods, seeds), own in self._alike(scopes, versus).items():
            models = {method: [f"{method}/{seed}" for seed in seeds] for method in methods}
            tasks = dict.fromkeys(name for names in own.values() for name in names)
            outcomes = {name: self._outcomes(name, [(m, s) for m in methods for s in seeds]) for name in tasks}
            bands = bootstrap_bands(
                outcomes,
                np.random.default_rng(DRAWS),
                scopes=own,
                models=models,
                versus=versus,
                resamples=BAND_RESAMPLES,
            )
            for name, by_method in bands.items():
                found[name] |= by_method
        return found

    def _alike(self, scopes: Scopes, versus: str | None) -> dict[tuple, dict[str, Sequence[str]]]:
        """(methods, seeds) → scopes on which just these methods have just these seeds, to be resampled together."""
        groups: dict[tuple, dict[str, Sequence[str]]] = {}
        for scope, tasks in scopes.items():
            by_seeds: dict[tuple[int, ...], list[str]] = {}
            for method in (*self._run.methods, START):
                seeds = self.seeds(method, tasks) if versus is None else self.shared(method, versus, tasks)
                if seeds and method != versus:
                    by_seeds.setdefault(seeds, []).append(method)
            for seeds, methods in by_seeds.items():
                groups.setdefault((tuple(methods + [versus] * (versus is not None)), seeds), {})[scope] = tasks
        return groups

    def _pooled(self, methods: list[str], seeds: Sequence[int], tasks: Sequence[str]) -> AudcBootstrap | None:
        if not seeds or not tasks:
            return None
        names = {method: [f"{method}/{seed}" for seed in seeds] for method in methods}
        models = tuple(model for own in names.values() for model in own)
        columns = []
        for name in sorted(tasks):
            whole = self._task(name)
            kept = [whole.methods.index(model) for model in models]
            columns.append((whole.task_estimates[0, kept], whole.task_samples[0][:, kept]))
        joined = AudcBootstrap(tuple(sorted(tasks)), models, *map(np.array, zip(*columns, strict=True)))
        return pool_seeds(joined, names, np.random.default_rng(DRAWS))

    def _task(self, name: str) -> AudcBootstrap:
        if name not in self._by_task:
            models = [(method, seed) for method, seed, of in self._cells if of == name]
            rng = np.random.default_rng(DRAWS)
            self._by_task[name] = bootstrap_audc({name: self._outcomes(name, models)}, rng, RESAMPLES)
        return self._by_task[name]

    def _outcomes(self, name: str, models: Iterable[tuple[str, int]]) -> dict[str, Outcomes]:
        ids = [example.id for example in self._run.examples[name]]
        return {f"{m}/{s}": self._cells[m, s, name].outcomes(self._run.rule, ids) for m, s in models}
