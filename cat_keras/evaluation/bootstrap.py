"""Intervals of areas under deferral curves: a paired bootstrap over examples, and over seeds as a second level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cat_keras.errors import COUNT, CatKerasError, check_number, check_numbers, unknown_name
from cat_keras.evaluation import resampling, significance, sweep
from cat_keras.evaluation.curves import Outcomes


def weighted_audc(outcomes: Outcomes, weights: np.ndarray) -> np.ndarray:
    """AUDC when example i counts `weights[r, i]` times: what `outcomes.curve().audc` gives on the repeated rows.

    Args:
        outcomes: n examples.
        weights: (R, n) ≥ 0, each row with a positive sum; multinomial counts for a bootstrap.

    Returns:
        (R,) float64.
    """
    weights = np.atleast_2d(check_numbers("weights", weights, "[0, 1e+100]"))
    if weights.ndim != 2 or weights.shape[1] != len(outcomes) or weights.sum(axis=1).min(initial=1) < 1e-100:
        raise CatKerasError(
            f"Each row of weights has one per example, {len(outcomes)}, and a positive sum. Received: shape "
            f"{weights.shape}, or a row of zeros"
        )
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    return sweep.audc([_sweep(outcomes)], outcomes.quality_small[:, None], columns)[0]


def _sweep(outcomes: Outcomes) -> sweep.Sweep:
    return sweep.Sweep(outcomes.score, outcomes.quality_large - outcomes.quality_small)


class Interval(NamedTuple):
    """A point estimate and its percentile interval."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: float, samples: np.ndarray, ends: tuple[float, float] = (0.025, 0.975)) -> "Interval":
        """The interval between two quantiles of resampled values, (R,); by default of 95 %."""
        return cls(float(estimate), *map(float, np.quantile(samples, ends)))

    @classmethod
    def of_defined(cls, values: np.ndarray) -> "Interval":
        """The 95 % interval of (1 + R,) values, of the data and of each resample, where some may be undefined (NaN).

        Undefined resamples are left out; the ends are NaN without an estimate or without any resample.
        """
        estimate, samples = values[0], values[1:][~np.isnan(values[1:])]
        if np.isnan(estimate) or not len(samples):
            return cls(float(estimate), float("nan"), float("nan"))
        return cls.of(estimate, samples)


@dataclass(frozen=True, eq=False)
class AudcBootstrap:
    """Bootstrap samples of the AUDC of T tasks and M methods; sample r used the same examples for every method.

    Attributes:
        tasks, methods: names, in the order of the arrays.
        task_estimates: (T, M) float64, AUDC on the data itself.
        task_samples: (T, R, M) float64, AUDC of each resample.
        examples: (T,) number of examples of each task, where it is known: p-values of very few are then not small.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    task_estimates: np.ndarray
    task_samples: np.ndarray
    examples: tuple[int, ...] | None = None

    def estimates(self, task: str | None = None) -> np.ndarray:
        """(M,) AUDC per method, of one task or averaged over all."""
        return self.task_estimates[self._task(task)].mean(axis=0)

    def samples(self, task: str | None = None) -> np.ndarray:
        """(R, M) resampled AUDC, of one task or averaged over all; columns are paired, so they may be subtracted."""
        return self._mean_samples if task is None else self.task_samples[self._task(task)].mean(axis=0)

    @cached_property
    def _mean_samples(self) -> np.ndarray:
        return self.task_samples.mean(axis=0)  # every interval and p-value over all tasks reads a column of it

    def interval(
        self, method: str, versus: str | None = None, task: str | None = None, level: float = 0.95
    ) -> Interval:
        """Percentile interval of a method's AUDC, or of its difference to the method `versus`.

        Raises:
            CatKerasError: an unknown method or task, or a level outside (0, 1).
        """
        check_number("level", level, "(0, 1)", remedy="Try 0.95")
        estimate, sample = self._column(self.estimates(task), method), self._column(self.samples(task), method)
        if versus is not None:
            estimate = estimate - self._column(self.estimates(task), versus)
            sample = sample - self._column(self.samples(task), versus)
        return Interval.of(estimate, sample, ((1 - level) / 2, (1 + level) / 2))

    def p_value(self, method: str, versus: str, task: str | None = None) -> float:
        """Two-sided p-value of "both methods have the same AUDC": < 1 − level where the interval excludes 0.

        A paired test: every resample draws the same examples for both. See `significance.two_sided`.
        """
        estimates, samples = self.estimates(task), self.samples(task)
        difference = self._column(samples, method) - self._column(samples, versus)
        examples = None if self.examples is None else int(np.sum(np.array(self.examples)[self._task(task)]))
        return significance.two_sided(difference, self._column(estimates, versus), examples)

    def _column(self, values: np.ndarray, method: str) -> np.ndarray:
        return values[..., _position("method", method, self.methods)]

    def _task(self, task):
        return slice(None) if task is None else [_position("task", task, self.tasks)]


def _position(kind: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise unknown_name(kind, name, names)
    return names.index(name)


def bootstrap_audc(
    outcomes: Mapping[str, Mapping[str, Outcomes]],
    rng: np.random.Generator,
    resamples: int = 10_000,
    threads: int | None = None,
) -> AudcBootstrap:
    """Paired bootstrap of the AUDC over example ids, stratified by task, all methods on the same resamples.

    Args:
        outcomes: task → method → its `Outcomes` with ids. Every task has the same methods, and all methods of a task
            the same ids; the order of rows, tasks and methods changes no number, nor do other tasks.
        rng: where the resamples come from; the same state gives the same samples to the last digit.
        resamples: R. Correcting p-values over many tasks needs many: none is below 2 / (1 + R).
        threads: cores to use, by default all; changes no number.

    Returns:
        estimates and samples per task and method, averages over tasks, intervals of methods and of differences.

    Raises:
        CatKerasError: a method missing in a task, ids missing or different between methods, no generator.
    """
    tasks, methods = resampling.names(outcomes, rng, resamples, threads)
    streams = resampling.Streams(rng)
    estimates, samples, examples = [], [], []
    for task in tasks:
        by_method = resampling.paired(task, methods, outcomes[task])
        sweeps = [_sweep(method) for method in by_method]
        alone = np.stack([method.quality_small for method in by_method], axis=1)
        estimates.append([method.curve().audc for method in by_method])
        examples.append(len(by_method[0]))

        def areas(counts, sweeps=sweeps, alone=alone):
            return sweep.audc(sweeps, alone, counts).T

        samples.append(streams.map(task, len(by_method[0]), resamples, areas, threads))
    return AudcBootstrap(tasks, methods, np.array(estimates), np.array(samples), tuple(examples))


def pool_seeds(result: AudcBootstrap, seeds: Mapping[str, Sequence[str]], rng: np.random.Generator) -> AudcBootstrap:
    """The second level: each method's mean over its seeds, with seeds drawn anew in every resample.

    A resample draws the same seeds for every method, so that methods that share a seed's starting point stay paired.
    It draws S − 1 of S (see `draw_seeds`), so the variance between seeds enters in full. A few seeds estimate that
    variance poorly, which a percentile interval cannot show: with few seeds, intervals are still rather narrow.

    Args:
        result: the first level; its methods are single trained models.
        seeds: method → its models in `result.methods`, one per seed, in the same order of seeds for every method.
        rng: where the draws come from. One seed leaves nothing to draw.

    Raises:
        CatKerasError: no seeds, a different number of them between methods, or a model that `result` does not have.
    """
    columns = seed_columns(seeds, result.methods)
    weights = draw_seeds(rng, columns.shape[1], result.task_samples.shape[1])
    samples = np.einsum("trms,rs->trm", result.task_samples[:, :, columns], weights)
    estimates = result.task_estimates[:, columns].mean(axis=2)
    return AudcBootstrap(result.tasks, tuple(seeds), estimates, samples, result.examples)


def seed_columns(seeds: Mapping[str, Sequence[str]], models: tuple[str, ...]) -> np.ndarray:
    """Positions in `models` of each method's seeds, (methods, S) int.

    Raises:
        CatKerasError: as in `pool_seeds`.
    """
    counts = {method: len(its_models) for method, its_models in seeds.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise CatKerasError(
            f"Methods are paired by seed, so all need the same number of seeds, at least 1; received {counts}. "
            "Pool the seeds that all of them have"
        )
    return np.array([[_position("model", model, models) for model in its_models] for its_models in seeds.values()])


def draw_seeds(rng: np.random.Generator, seeds: int, resamples: int) -> np.ndarray:
    """Weights of the seeds in each resample, (R, S) float64, each row summing to 1.

    Each resample draws S − 1 of S seeds with replacement. Their mean then has the variance s² / S that the mean of S
    independent seeds has; S draws would have only (S − 1) / S of it. Rao and Wu, JASA 83 (1988).
    """
    check_number("seeds", seeds, COUNT, whole=True)
    check_number("resamples", resamples, resampling.RESAMPLES, whole=True)
    draws = max(seeds - 1, 1)
    return rng.multinomial(draws, np.full(seeds, 1 / seeds), size=resamples) / draws


def seed_weights(rng: np.random.Generator, seeds: int, resamples: int) -> np.ndarray:
    """Weights of the seeds in the estimate, all equal, and in each resample as `draw_seeds` has it: (1 + R, S)."""
    drawn = draw_seeds(rng, seeds, resamples)
    return np.concatenate([np.full((1, seeds), 1 / seeds), drawn])
