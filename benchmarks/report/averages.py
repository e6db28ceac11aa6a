"""Means over tasks and over seeds."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Measured(NamedTuple):
    """A mean over seeds and their standard deviation; NaN for what is undefined, `sd` NaN with one seed."""

    mean: float
    sd: float = float("nan")


def over_seeds(values: Iterable[float]) -> Measured:
    values = np.array(list(values), dtype=float)
    if not values.size:
        return Measured(float("nan"))
    return Measured(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"))


def mean(values: Iterable[float]) -> float:
    """NaN without values."""
    values = list(values)
    return float(np.mean(values)) if values else float("nan")
