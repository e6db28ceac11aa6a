"""A cascade, a router, and a router before a cascade, on recorded answers: what each gives for what it costs.

All ways are judged alike: for every budget between the costs of the two models, thresholds are chosen on some queries
and judged on others. So a way that has more thresholds to choose has no advantage by that alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import digests
from cat_keras.errors import check_number
from cat_keras.evaluation.grid import midpoints

BUDGETS = 11  # evenly spaced between the mean costs of the two models, both included
RATES = np.linspace(0, 1, 21)  # shares of queries below a threshold that is tried
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Way:
    """What a way gives for K budgets.

    Attributes:
        quality, cost: (K, n) float64, of every query; expectations where a coin decides between two thresholds.
    """

    quality: np.ndarray
    cost: np.ndarray

    def area(self, weights: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Mean quality over all budgets from `low` to `high`, (R,); see `area`.

        Args:
            weights: (R, n), of the queries, each row sums to 1. low, high: (R,).
        """
        return area(weights @ self.quality.T, weights @ self.cost.T, low, high)


def folds(task: str, units: Sequence, count: int = FOLDS) -> np.ndarray:
    """(n,) the fold of each query: a hash of its unit alone, so that queries of one unit are in one fold."""
    check_number("count", count, "[2, 1000000]", whole=True)
    keys = digests(0, [task] * len(units), [str(unit) for unit in units])
    return np.array([int.from_bytes(key, "big") % count for key in keys], dtype=np.int64)


def cascade(score: np.ndarray, quality: np.ndarray, cost: np.ndarray, fold_of: np.ndarray) -> Way:
    """Every query is answered by the small model, and those with the lowest scores then also by the large one.

    Args:
        score: (n,) of the small model's answers. quality, cost: (2, n) of the small and the large model.
        fold_of: (n,) from `folds`; thresholds for the queries of a fold are chosen on all others.
    """
    return _chosen(None, score, quality, cost, fold_of)


def route(router: np.ndarray, quality: np.ndarray, cost: np.ndarray, fold_of: np.ndarray) -> Way:
    """Every query is answered by one model, those with the lowest scores of a router, (n,), by the large one."""
    return _chosen(router, None, quality, cost, fold_of)


def route_then_cascade(
    router: np.ndarray, score: np.ndarray, quality: np.ndarray, cost: np.ndarray, fold_of: np.ndarray
) -> Way:
    """Queries with the lowest scores of a router go to the large model at once, all others into a cascade.

    Either threshold may be never, so that the cascade alone and the router alone are among the choices.
    """
    return _chosen(router, score, quality, cost, fold_of)


def area(quality: np.ndarray, cost: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean quality over all budgets from `low` to `high` of curves that are straight between K points, (R,).

    A curve is level before its first point and after its last: no one has to spend a budget.

    Args:
        quality, cost: (R, K); a cost below the one before counts as that one. low, high: (R,), low < high.
    """
    cost = np.maximum.accumulate(cost, axis=1)
    left, right = (np.clip(each, low[:, None], high[:, None]) for each in (cost[:, :-1], cost[:, 1:]))
    width = np.diff(cost, axis=1)
    slope = np.divide(np.diff(quality, axis=1), width, out=np.zeros_like(width), where=width > 0)
    middle = quality[:, :-1] + slope * ((left + right) / 2 - cost[:, :-1])
    inside = np.sum(middle * (right - left), axis=1)
    before = np.clip(cost[:, 0], low, high) - low
    after = high - np.clip(cost[:, -1], low, high)
    return (inside + before * quality[:, 0] + after * quality[:, -1]) / (high - low)


def _chosen(router, score, quality, cost, fold_of) -> Way:
    """The thresholds on the scores of a router and of a cascade, of which one may be None, for all folds."""
    n = len(fold_of)
    never = np.zeros(n)  # a score of which no threshold is tried
    first, second = (never if each is None else np.asarray(each, np.float64) for each in (router, score))
    way = Way(np.empty((BUDGETS, n)), np.empty((BUDGETS, n)))
    for fold in np.unique(fold_of):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        tried = [
            np.array([-np.inf]) if each is never else thresholds(each[train]) for each in (first, second)
        ]  # of the router, of the cascade
        direct, deferred = first < tried[0][:, None], second < tried[1][:, None]
        gives, takes = pair_means(direct[:, train], deferred[:, train], quality[:, train], cost[:, train])
        corners, shares = mixtures(takes, gives, np.linspace(*cost[:, train].mean(axis=1), BUDGETS))
        way.quality[:, test] = way.cost[:, test] = 0
        for corner, share in zip(corners, shares, strict=True):
            one, other = np.divmod(corner, len(tried[1]))
            q, c = _outcomes(direct[one][:, test], deferred[other][:, test], quality[:, test], cost[:, test])
            way.quality[:, test] += share[:, None] * q
            way.cost[:, test] += share[:, None] * c
    return way


def thresholds(scores: np.ndarray) -> np.ndarray:
    """Those below which the shares `RATES` of the scores lie, or less where scores are equal; from −inf to inf."""
    levels, ordered = np.unique(scores), np.sort(scores)
    counts = (RATES[:-1] * len(scores) + 1e-9).astype(np.int64)
    between = np.concatenate([[-np.inf], midpoints(levels)])
    return np.append(between[np.searchsorted(levels, ordered[counts])], np.inf)


def _outcomes(direct, deferred, quality, cost) -> tuple[np.ndarray, np.ndarray]:
    """Quality and cost of queries (K, n) that go to the large model at once, or after the small one has answered."""
    paid = np.where(direct, cost[1], cost[0] + np.where(deferred, cost[1], 0.0))
    return np.where(direct | deferred, quality[1], quality[0]), paid


def pair_means(direct, deferred, quality, cost) -> tuple[np.ndarray, np.ndarray]:
    """Mean quality and mean cost of every pair of thresholds, (A × B,), without an array of queries for each pair.

    Args:
        direct: (A, n) bool, by thresholds of the router. deferred: (B, n) bool, by thresholds of the cascade.
        quality, cost: (2, n).
    """
    n = direct.shape[1]
    asked, deferred = (~direct).astype(np.float64), deferred.astype(np.float64)
    gain = quality[1] - quality[0]
    gives = quality[1].mean() - (asked @ gain / n)[:, None] + (asked * gain) @ deferred.T / n
    takes = cost[1].mean() + (asked @ (cost[0] - cost[1]) / n)[:, None] + (asked * cost[1]) @ deferred.T / n
    return gives.ravel(), takes.ravel()


def mixtures(cost: np.ndarray, quality: np.ndarray, budgets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to do within each budget: points of the rising upper hull of quality over cost, and a coin between them.

    Returns:
        (2, K) places of the two points between which the budget lies, and (2, K) the share of each. Beyond the best
        point, that point alone.
    """
    order = np.lexsort((-quality, cost))
    rising = np.maximum.accumulate(quality[order])
    order = order[np.append(True, rising[1:] > rising[:-1])]
    hull: list[int] = []
    for place in order:
        while len(hull) > 1 and _is_below(hull[-1], hull[-2], place, cost, quality):
            hull.pop()
        hull.append(int(place))
    points = np.array(hull)
    right = np.clip(np.searchsorted(cost[points], budgets), 0, len(points) - 1)
    left = np.maximum(right - 1, 0)
    width = cost[points[right]] - cost[points[left]]
    share = np.divide(budgets - cost[points[left]], width, out=np.ones_like(budgets), where=width > 0)
    share = np.clip(share, 0, 1)
    return np.stack([points[left], points[right]]), np.stack([1 - share, share])


def _is_below(middle: int, left: int, right: int, cost: np.ndarray, quality: np.ndarray) -> bool:
    """Whether a point is not above the line between two others."""
    rise, run = quality[right] - quality[left], cost[right] - cost[left]
    return (quality[middle] - quality[left]) * run <= rise * (cost[middle] - cost[left])
