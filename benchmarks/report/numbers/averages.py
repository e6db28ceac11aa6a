"""Means over tasks and over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers.cells import ORACLE, Cell
from benchmarks.report.reading.load import Key
from cat_keras.evaluation.curves import DeferralCurve, macro_average

Cells = Mapping[Key, Cell]


class Measured(NamedTuple):
    """A mean over seeds and their standard deviation; NaN for what is undefined, `sd` NaN with one seed."""

    mean: float
    sd: float = float("nan")


def over_seeds(values: Iterable[float]) -> Measured:
    """Mean and sample standard deviation of one value per seed."""
    values = np.array(list(values), dtype=float)
    if not values.size:
        return Measured(float("nan"))
    return Measured(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"))


def mean(values: Iterable[float]) -> float:
    """The plain mean; NaN without values."""
    values = list(values)
    return float(np.mean(values)) if values else float("nan")


def curves(
    cells: Cells, method: str, seeds: Iterable[int], tasks: Sequence[str], rule: str
) -> dict[int, DeferralCurve]:
    """Seed → curve averaged over the tasks, all of which each seed must have; {} without tasks."""
    if not tasks:
        return {}
    return {seed: macro_average({n: cells[method, seed, n].curve(rule) for n in tasks}, tasks) for seed in seeds}


def pooled(by_seed: Mapping[int, DeferralCurve]) -> DeferralCurve | None:
    """The mean of the seeds' curves; None without any."""
    return macro_average(by_seed, by_seed) if by_seed else None


def s_d(cells: Cells, method: str, by_seed: Mapping[int, DeferralCurve], tasks: Sequence[str]) -> list[float]:
    """s_d of each seed's curve, one value per seed.

    It is a ratio of averages over the tasks, not an average of ratios, so that it is also defined when a single task
    leaves no room to defer.
    """
    ideal = {seed: mean(cells[method, seed, name].curve(ORACLE).audc for name in tasks) for seed in by_seed}
    return [curve.s_d(ideal[seed]) for seed, curve in by_seed.items()]
