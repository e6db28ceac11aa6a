"""Intervals, tests and bands of a run, from paired resamples of the examples of each task and of the seeds."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.reading.load import START, Key, Run
from cat_keras.evaluation.bands import Band, every_band
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, bootstrap_audc, pool_seeds
from cat_keras.evaluation.curves import Outcomes

RESAMPLES = 10_000  # the least p-value is 2 / RESAMPLES, and is multiplied by the number of tasks
BAND_RESAMPLES = 1000
DRAWS = 2406  # seed of every resampling: the same run gives the same interval to the last digit

Scopes = Mapping[str, Sequence[str]]  # name of an average → tasks that it is over


class Intervals:
    """Resamples of every task, drawn once on first use and shared by all averages that the task is part of.

    A task's resamples depend on no other task, so an average has the same interval whatever else the report shows.

    Args:
        run: of all tasks. cells: those of the run.
    """

    def __init__(self, run: Run, cells: Mapping[Key, Cell]):
        self._run, self._cells = run, cells
        self._by_task: dict[str, AudcBootstrap] = {}
        self._by_seeds: dict[tuple[str, tuple[int, ...]], AudcBootstrap] = {}

    def seeds(self, method: str, tasks: Iterable[str]) -> tuple[int, ...]:
        """Seeds of a method that have all the tasks."""
        seeds = self._run.expected_seeds(method)
        return tuple(seed for seed in seeds if all((method, seed, name) in self._cells for name in tasks))

    def shared(self, method: str, other: str, tasks: Sequence[str]) -> tuple[int, ...]:
        """Seeds with which both methods have all the tasks."""
        seeds_of_other = self.seeds(other, tasks)
        return tuple(seed for seed in self.seeds(method, tasks) if seed in seeds_of_other)

    def of(self, method: str, tasks: Sequence[str]) -> Interval | None:
        """Interval of a method's AUDC, averaged over tasks and seeds; None without a complete seed."""
        pooled = self._pooled([method], self.seeds(method, tasks), tasks)
        return pooled.interval(method) if pooled else None

    def versus(self, method: str, baseline: str, tasks: Sequence[str]) -> tuple[Interval, float] | None:
        """Difference of two methods' AUDC on the seeds that both have, and its p-value.

        None if both are one method, or without a shared seed.
        """
        if method == baseline:
            return None
        pooled = self._pooled([method, baseline], self.shared(method, baseline, tasks), tasks)
        return (pooled.interval(method, baseline), pooled.p_value(method, baseline)) if pooled else None

    def differences(self, method: str, baseline: str, tasks: Sequence[str]) -> np.ndarray | None:
        """The difference of `versus`, (1 + `RESAMPLES`,): of the data themselves, and of each resample."""
        pooled = self._pooled([method, baseline], self.shared(method, baseline, tasks), tasks)
        if pooled is None:
            return None
        both = np.concatenate([pooled.estimates()[None], pooled.samples()])
        return both[:, 0] - both[:, 1]

    def _pooled(self, methods: list[str], seeds: Sequence[int], tasks: Sequence[str]) -> AudcBootstrap | None:
        """AUDC of the methods in every resample, averaged over tasks and seeds; None without either."""
        if not seeds or not tasks:
            return None
        names = tuple(sorted(tasks))
        parts = [self._of_seeds(name, tuple(seeds)) for name in names]
        places = [[part.methods.index(method) for method in methods] for part in parts]
        estimates = np.array([part.task_estimates[0, at] for part, at in zip(parts, places, strict=True)])
        samples = np.array([part.task_samples[0][:, at] for part, at in zip(parts, places, strict=True)])
        examples = tuple(part.examples[0] for part in parts)
        return AudcBootstrap(names, tuple(methods), estimates, samples, examples)

    def _of_seeds(self, name: str, seeds: tuple[int, ...]) -> AudcBootstrap:
        """Of one task, averaged over seeds: every method that has them all."""
        if (name, seeds) not in self._by_seeds:
            methods = dict.fromkeys(method for method, _, of in self._cells if of == name)
            models = {method: [f"{method}/{seed}" for seed in seeds] for method in methods
                      if all((method, seed, name) in self._cells for seed in seeds)}  # fmt: skip
            pooled = pool_seeds(self._of_task(name), models, np.random.default_rng(DRAWS))
            self._by_seeds[name, seeds] = pooled
        return self._by_seeds[name, seeds]

    def _of_task(self, name: str) -> AudcBootstrap:
        if name not in self._by_task:
            models = [(method, seed) for method, seed, of in self._cells if of == name]
            rng = np.random.default_rng(DRAWS)
            self._by_task[name] = bootstrap_audc({name: self._outcomes(name, models)}, rng, RESAMPLES)
        return self._by_task[name]

    def bands(self, scopes: Scopes, versus: str) -> dict[str | None, dict[str, dict[str, Band]]]:
        """None → scope → method → band of its curve; `versus` → likewise, of the difference to that method."""
        bands = {kind: {name: {} for name in scopes} for kind in (None, versus)}
        groups, compared = self._groups(scopes, None), self._groups(scopes, versus)
        for (methods, seeds), group in groups.items():
            others = tuple(method for method in methods if method != versus)
            kinds = [None]
            if versus in methods and compared.get(key := ((*others, versus), seeds)) == group:
                del compared[key]
                kinds.append(versus)  # the same curves, resampled once for both
            self._add_bands(bands, methods, seeds, group, kinds)
        for (methods, seeds), group in compared.items():
            self._add_bands(bands, methods, seeds, group, [versus])
        return bands

    def _add_bands(self, bands, methods: Sequence[str], seeds: Sequence[int], group: Scopes, kinds: list[str | None]):
        models = {method: [f"{method}/{seed}" for seed in seeds] for method in methods}
        tasks = dict.fromkeys(name for names in group.values() for name in names)
        outcomes = {name: self._outcomes(name, [(m, s) for m in methods for s in seeds]) for name in tasks}
        rng = np.random.default_rng(DRAWS)
        made = every_band(outcomes, rng, scopes=group, models=models, versus=kinds, resamples=BAND_RESAMPLES)
        for kind, by_scope in zip(kinds, made, strict=True):
            for scope, by_method in by_scope.items():
                bands[kind][scope] |= by_method

    def _groups(self, scopes: Scopes, versus: str | None) -> dict[tuple, Scopes]:
        """(methods, seeds) → the scopes on which exactly these methods have exactly these seeds.

        They are resampled together. A group ends with `versus`, if there is one.
        """
        groups: dict[tuple, dict[str, Sequence[str]]] = {}
        for scope, tasks in scopes.items():
            by_seeds: dict[tuple[int, ...], list[str]] = {}
            for method in (*self._run.methods, START):
                seeds = self.seeds(method, tasks) if versus is None else self.shared(method, versus, tasks)
                if seeds and method != versus:
                    by_seeds.setdefault(seeds, []).append(method)
            for seeds, methods in by_seeds.items():
                key = (tuple(methods if versus is None else [*methods, versus]), seeds)
                groups.setdefault(key, {})[scope] = tasks
        return groups

    def _outcomes(self, name: str, models: Iterable[tuple[str, int]]) -> dict[str, Outcomes]:
        ids = [example.id for example in self._run.examples[name]]
        return {f"{m}/{s}": self._cells[m, s, name].outcomes(self._run.rule, ids) for m, s in models}
