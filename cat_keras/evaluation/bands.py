"""Confidence bands of whole deferral curves and of their differences, by the paired bootstrap of `bootstrap`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import SHARE, CatKerasError, check_number, check_numbers, unknown_name
from cat_keras.evaluation import resampling
from cat_keras.evaluation.bootstrap import draw_seeds, seed_columns
from cat_keras.evaluation.curves import Outcomes
from cat_keras.evaluation.sweep import Sweep, rows_of, weighted_sums
from cat_keras.evaluation.vectors import ROUNDING

GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Band:
    """A curve over the deferral rate, or the difference of two curves, with bootstrap intervals at every rate.

    Attributes:
        rate: (K,) float64, deferral rates.
        estimate: (K,) float64, mean quality over tasks and seeds at each rate, from the exact curves.
        low, high: (K,) float64, percentile interval at each rate, valid for that rate alone.
        all_low, all_high: (K,) float64, simultaneous band: it holds the whole curve with the probability of the level.
        p_value: of "the curve is 0 at every rate", from the same maximum over the rates as the simultaneous band; it
            is meaningful for differences only.
    """

    rate: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    all_low: np.ndarray
    all_high: np.ndarray
    p_value: float


def bootstrap_bands(
    outcomes: Mapping[str, Mapping[str, Outcomes]],
    rng: np.random.Generator,
    *,
    scopes: Mapping[str, Sequence[str]] | None = None,
    models: Mapping[str, Sequence[str]] | None = None,
    versus: str | None = None,
    grid: np.ndarray = GRID,
    resamples: int = 1000,
    level: float = 0.95,
    threads: int | None = None,
) -> dict[str, dict[str, Band]]:
    """Bands of every method's curve, averaged over each of several sets of tasks.

    The resamples are those of `bootstrap_audc` for the same state of `rng`. Memory is bounded by
    `scopes × resamples × methods × K` numbers, whatever the number of tasks and examples.

    Args:
        outcomes: task → model → `Outcomes` with ids, as in `bootstrap_audc`.
        scopes: name → tasks that are averaged, each deferring the same share; default: one, "all", of all tasks.
        models: method → its models, one per seed, paired by seed; default: each model is a method.
        versus: a method that is subtracted from each of the others: the bands are then of differences.
        grid: (K,) deferral rates in [0, 1], increasing.
        resamples, level: of the bootstrap and of the bands.
        threads: cores to use, by default all; changes no number.

    Returns:
        scope → method → its band.

    Raises:
        CatKerasError: what `bootstrap_audc` and `pool_seeds` refuse, an unknown task or method, a bad grid or level.
    """
    return every_band(
        outcomes, rng, scopes=scopes, models=models, versus=(versus,), grid=grid, resamples=resamples, level=level,
        threads=threads,
    )[0]  # fmt: skip


def every_band(
    outcomes: Mapping[str, Mapping[str, Outcomes]],
    rng: np.random.Generator,
    *,
    scopes: Mapping[str, Sequence[str]] | None,
    models: Mapping[str, Sequence[str]] | None,
    versus: Sequence[str | None],
    grid: np.ndarray = GRID,
    resamples: int = 1000,
    level: float = 0.95,
    threads: int | None = None,
) -> list[dict[str, dict[str, Band]]]:
    """`bootstrap_bands` for each entry of `versus`, None among them, from curves that are resampled once for all."""
    tasks, names = resampling.names(outcomes, rng, resamples, threads)
    scopes = {name: frozenset(members) for name, members in (scopes or {"all": tasks}).items()}
    models = models or {name: [name] for name in names}
    for method in versus:
        _check(grid, level, scopes, tasks, models, method)
    columns, streams = seed_columns(models, names), resampling.Streams(rng)
    seeds = draw_seeds(rng, columns.shape[1], resamples)
    bands, sums = [{} for _ in versus], {}
    for task in tasks:
        scopes_of_task = [name for name, members in scopes.items() if task in members]
        if not scopes_of_task:
            continue
        by_model = resampling.paired(task, names, outcomes[task])
        estimates = np.array([model.curve().quality_at(grid) for model in by_model])
        resampled = _ResampledCurves(by_model, columns, grid)
        samples = streams.map(task, len(by_model[0]), resamples, resampled, threads, beside=[seeds])
        pooled = estimates[columns].mean(axis=1), samples
        for name in scopes_of_task:
            sums[name] = [a + b for a, b in zip(sums[name], pooled, strict=True)] if name in sums else pooled
            if task == max(scopes[name]):  # the scope's last task: free its samples, keep the bands alone
                means = [total / len(scopes[name]) for total in sums.pop(name)]
                for by_scope, method in zip(bands, versus, strict=True):
                    by_scope[name] = _of_methods(list(models), method, grid, *means, level)
    return [{name: by_scope[name] for name in scopes} for by_scope in bands]


def _check(grid, level, scopes, tasks, models, versus):
    check_number("level", level, "(0, 1)", remedy="Try 0.95")
    check_numbers("grid", grid, SHARE, remedy="Try bands.GRID")
    if np.ndim(grid) != 1 or not len(grid) or np.any(np.diff(grid) <= 0):
        raise CatKerasError(f"grid must be deferral rates increasing within [0, 1]; received {grid}. Try bands.GRID")
    if versus is not None and versus not in models:
        raise unknown_name("method", versus, models)
    for name, members in scopes.items():
        if not members:
            raise CatKerasError(f"A band is over at least one task; {name!r} has none. Leave it out")
        for task in members - set(tasks):
            raise unknown_name("task", task, tasks)


class _ResampledCurves:
    """Curves of every method on the grid, averaged over its seeds; all models are on the same resamples.

    Args:
        by_model: outcomes of every model on one task. columns: (methods, S), which of them are a method's seeds.
    """

    def __init__(self, by_model: Sequence[Outcomes], columns: np.ndarray, grid: np.ndarray):
        self._columns, self._grid = columns, grid
        self._small = np.stack([model.quality_small for model in by_model], axis=1)
        self._sweeps = [Sweep(model.score, model.quality_large - model.quality_small) for model in by_model]

    def __call__(self, counts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """(B, methods, K) from counts (n, B) and the weights of the seeds, (B, S)."""
        n, rows = len(counts), rows_of(counts)
        alone = weighted_sums(self._small, counts) / n
        curves = np.zeros((len(self._columns), len(rows), len(self._grid)))
        for of_method, models in zip(curves, self._columns, strict=True):
            for model, weight in zip(models, seeds.T, strict=True):
                self._sweeps[model].add_curves(rows, alone[model][None], self._grid, weight, of_method[None])
        return curves.swapaxes(0, 1)


def _of_methods(methods, versus, grid, estimates, samples, level) -> dict[str, Band]:
    """Bands from pooled curves, estimates (M, K) and samples (R, M, K); `versus`, where given, gets no band."""
    if versus is not None:
        base = methods.index(versus)
        estimates, samples = estimates - estimates[base], samples - samples[:, base : base + 1]
    bands = {name: _band(grid, estimates[m], samples[:, m], level) for m, name in enumerate(methods)}
    bands.pop(versus, None)
    return bands


def _band(grid: np.ndarray, estimate: np.ndarray, sample: np.ndarray, level: float) -> Band:
    low, high = np.quantile(sample, [(1 - level) / 2, (1 + level) / 2], axis=0)
    spread = sample.std(axis=0)
    largest = _largest_deviation(sample - estimate, spread)
    half_width = _half_width(np.abs(sample - estimate), spread, level)
    as_extreme = np.sum(largest >= _largest_deviation(estimate, spread))
    p_value = float((1 + as_extreme) / (1 + len(sample)))
    return Band(np.asarray(grid), estimate, low, high, estimate - half_width, estimate + half_width, p_value)


def _half_width(size: np.ndarray, spread: np.ndarray, level: float) -> np.ndarray:
    """Half the width of the simultaneous band at each rate.

    It is a multiple of the spread at that rate. The multiple is the `level` quantile over the resamples of the largest
    deviation over all rates, in units of the spread. Where the resamples agree with one another but not with the
    estimate (a single resample does), there is no spread, and the half width is their distance from the estimate.
    """
    varies = spread > ROUNDING
    largest = np.where(varies, size / np.where(varies, spread, 1), 0.0).max(axis=-1)
    fixed_elsewhere = ~varies & (size.max(axis=0) > ROUNDING)
    return np.where(fixed_elsewhere, size.max(axis=0), np.quantile(largest, level) * spread)


def _largest_deviation(deviation: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Largest deviation over the grid in units of its spread; a rate without spread counts as 0 or infinity."""
    size = np.abs(deviation)
    fixed = np.where(size > ROUNDING, np.inf, 0.0)
    return np.where(spread > ROUNDING, size / np.where(spread > ROUNDING, spread, 1), fixed).max(axis=-1)
