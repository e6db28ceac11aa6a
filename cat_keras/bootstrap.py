"""Intervals of areas under deferral curves: a paired bootstrap over examples, and over seeds as a second level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from cat_keras.curves import Outcomes, tie_groups
from cat_keras.errors import CatKerasError, unknown_name

_CHUNK = 1 << 18  # numbers per block of resamples: stays in the cache, and bounds memory whatever the task's size


def weighted_audc(outcomes: Outcomes, weights: np.ndarray) -> np.ndarray:
    """AUDC when example i counts `weights[r, i]` times: what `outcomes.curve().audc` gives on the repeated rows.

    Args:
        outcomes: n examples.
        weights: (R, n) ≥ 0, each row with a positive sum; multinomial counts for a bootstrap.

    Returns:
        (R,) float64.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    order, last = tie_groups(outcomes.score)
    gain = outcomes.quality_large - outcomes.quality_small
    total = weights.sum(axis=1)
    ordered = weights[:, order]
    # A tied group is one straight piece: only the sums at its end enter, with the width of the whole group.
    gained = np.cumsum(ordered * gain[order], axis=1)[:, last]
    widths = np.diff(np.cumsum(ordered, axis=1)[:, last], axis=1, prepend=0.0)
    heights = gained - np.diff(gained, axis=1, prepend=0.0) / 2
    return weights @ outcomes.quality_small / total + np.einsum("rg,rg->r", widths, heights) / total**2


class Interval(NamedTuple):
    """A point estimate and its percentile interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class AudcBootstrap:
    """Bootstrap samples of the AUDC of T tasks and M methods; sample r used the same examples for every method.

    Attributes:
        tasks, methods: names, in the order of the arrays.
        task_estimates: (T, M) float64, AUDC on the data itself.
        task_samples: (T, R, M) float64, AUDC of each resample.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    task_estimates: np.ndarray
    task_samples: np.ndarray

    def estimates(self, task: str | None = None) -> np.ndarray:
        """(M,) AUDC per method, of one task or averaged over all."""
        return self.task_estimates[self._task(task)].mean(axis=0)

    def samples(self, task: str | None = None) -> np.ndarray:
        """(R, M) resampled AUDC, of one task or averaged over all; columns may be subtracted, they are paired."""
        return self.task_samples[self._task(task)].mean(axis=0)

    def interval(
        self, method: str, versus: str | None = None, task: str | None = None, level: float = 0.95
    ) -> Interval:
        """Percentile interval of a method's AUDC, or of its difference to the method `versus`.

        Raises:
            CatKerasError: a method or task that is not here, or a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise CatKerasError(f"level must be between 0 and 1; received {level}. Try 0.95")
        estimates, samples = self.estimates(task), self.samples(task)
        m = _position("method", method, self.methods)
        estimate, sample = estimates[m], samples[:, m]
        if versus is not None:
            v = _position("method", versus, self.methods)
            estimate, sample = estimate - estimates[v], sample - samples[:, v]
        low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(estimate), float(low), float(high))

    def _task(self, task):
        return slice(None) if task is None else [_position("task", task, self.tasks)]


def _position(kind: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise unknown_name(kind, name, names)
    return names.index(name)


def bootstrap_audc(
    outcomes: Mapping[str, Mapping[str, Outcomes]], rng: np.random.Generator, resamples: int = 1000
) -> AudcBootstrap:
    """Paired bootstrap of the AUDC over example ids, stratified by task, all methods on the same resamples.

    Args:
        outcomes: task → method → its `Outcomes` with ids. Every task has the same methods, and all methods of a task
            the same ids; the order of rows, tasks and methods changes no number.
        rng: where the resamples come from; the same state gives the same samples to the last digit.
        resamples: R.

    Returns:
        estimates and samples per task and method, averages over tasks, intervals of methods and of differences.

    Raises:
        CatKerasError: a method missing in a task, ids missing or different between methods, no generator.
    """
    if not isinstance(rng, np.random.Generator):
        raise CatKerasError(f"rng must be a numpy Generator; received {rng!r}. Pass numpy.random.default_rng(seed)")
    if not outcomes or resamples < 1:
        raise CatKerasError(f"A bootstrap needs a task and a resample; received {len(outcomes)} and {resamples}")
    tasks = tuple(sorted(outcomes))
    methods = tuple(sorted({method for by_method in outcomes.values() for method in by_method}))
    estimates, samples = [], []
    for task in tasks:
        rows = _by_id(task, methods, outcomes[task])
        estimates.append([each.curve().audc for each in rows])
        samples.append(_resample(rows, rng, resamples))
    return AudcBootstrap(tasks, methods, np.array(estimates), np.array(samples))


def _by_id(task: str, methods: tuple[str, ...], by_method: Mapping[str, Outcomes]) -> list[Outcomes]:
    """Outcomes in the order of `methods`, rows sorted by id, refused when they cannot be paired."""
    missing = [method for method in methods if by_method.get(method) is None]
    if missing:
        raise CatKerasError(
            f"A paired bootstrap needs every method on every task; task {task!r} lacks {missing}. "
            "Run them, or leave the method or the task out everywhere"
        )
    rows = [_sorted_by_id(task, method, by_method[method]) for method in methods]
    for method, other in zip(methods, rows, strict=True):
        odd = np.setxor1d(other.ids, rows[0].ids)
        if odd.size:
            raise CatKerasError(
                f"Methods are paired by example id, so ids must agree; on task {task!r} {methods[0]!r} and {method!r} "
                f"differ in {odd.size} ids, e.g. {str(odd[0])!r}. Use the predictions on the same examples"
            )
    return rows


def _sorted_by_id(task: str, method: str, outcomes: Outcomes) -> Outcomes:
    if outcomes.ids is None:
        raise CatKerasError(f"A paired bootstrap needs example ids; {method!r} on {task!r} has none. Pass ids=...")
    order = np.argsort(outcomes.ids)
    return Outcomes(*(getattr(outcomes, field.name)[order] for field in fields(Outcomes)))


def _resample(rows: list[Outcomes], rng: np.random.Generator, resamples: int) -> np.ndarray:
    """AUDC of each resample and method, (R, M). Drawing block by block reads the same stream as drawing at once."""
    n = len(rows[0])
    block = max(1, _CHUNK // n)
    samples = []
    for start in range(0, resamples, block):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(block, resamples - start)).astype(np.float64)
        samples.append(np.stack([weighted_audc(each, weights) for each in rows], axis=1))
    return np.concatenate(samples)


def pool_seeds(result: AudcBootstrap, seeds: Mapping[str, Sequence[str]], rng: np.random.Generator) -> AudcBootstrap:
    """The second level: each method's mean over its seeds, with seeds drawn anew in every resample.

    A resample draws the same seeds for every method, so that methods that share a seed's starting point stay paired.
    With S seeds the spread between them enters with (S − 1)/S of its variance: with few seeds, intervals are narrow.

    Args:
        result: the first level; its methods are single trained models.
        seeds: method → its models in `result.methods`, one per seed, in the same order of seeds for every method.
        rng: where the draws come from. One seed leaves nothing to draw.

    Raises:
        CatKerasError: no seeds, a different number of them between methods, or a model that `result` does not have.
    """
    counts = {method: len(models) for method, models in seeds.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise CatKerasError(
            f"Methods are paired by seed, so all need the same number of seeds, at least 1; received {counts}. "
            "Pool the seeds that all of them have"
        )
    n = next(iter(counts.values()))
    columns = [[_position("model", model, result.methods) for model in models] for models in seeds.values()]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=result.task_samples.shape[1]) / n
    samples = np.einsum("trms,rs->trm", result.task_samples[:, :, columns], weights)
    return AudcBootstrap(result.tasks, tuple(seeds), result.task_estimates[:, columns].mean(axis=2), samples)
