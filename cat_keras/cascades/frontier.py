"""The frontier of cascades of any number of stages, on recorded answers: the best quality within each budget.

All threshold vectors are tried. With every stage there are more of them, and the best of many looks better than it is;
so thresholds are chosen on some queries and judged on others, and cascades of two and of more stages compare fairly.
"""

from collections.abc import Sequence

import numpy as np

from cat_keras.cascades import rational
from cat_keras.cascades.playback import Stages, grid
from cat_keras.cascades.routing.ways import Way, mixtures
from cat_keras.errors import CatKerasError, unknown_name

CANDIDATES = 2000  # at most so many threshold vectors of a grid; 44 thresholds per stage of a cascade of three models
METHODS = ("grid", "rational")


def frontier(systems: Sequence[Stages], fold_of: np.ndarray, budgets: np.ndarray, method: str = "grid") -> Way:
    """What one may have for each budget, with thresholds that were chosen on other queries.

    Within a budget the best point of the rising upper hull of quality over cost is taken, or a coin between the two
    points beside it: what can be had by any threshold vector of any of the systems.

    Args:
        systems: cascades of which one is taken, over the same n queries; their stages may differ.
        fold_of: (n,) from `routing.folds`; thresholds for the queries of a fold are chosen on all others.
        budgets: (K,) increasing, mean cost per query.
        method: "grid" tries combinations of thresholds; "rational" takes those that are best under a model of how the
            confidences go together, see `cascades.rational`.

    Returns:
        quality and cost of every query, (K, n) each. The cost is above the budget where the cheapest system is.

    Raises:
        CatKerasError: an unknown method, systems over different queries, or only one fold.
    """
    if method not in METHODS:
        raise unknown_name("way to choose thresholds", method, METHODS)
    sizes = {stages.quality.shape[1] for stages in systems}
    if sizes != {len(fold_of)}:
        raise CatKerasError(f"Cascades answer the same queries. Received: {sorted(sizes)} and {len(fold_of)} folds")
    folds = np.unique(fold_of)
    if len(folds) < 2:
        raise CatKerasError(f"Thresholds are chosen on other folds. Received: {len(folds)} fold. Give more queries")
    way = Way(*np.empty((2, len(budgets), len(fold_of))))
    for fold in folds:
        known, asked = fold_of != fold, fold_of == fold
        tried = [_candidates(_part(stages, known), method) for stages in systems]
        quality, cost = (np.concatenate([each[i] for each in tried]) for i in (1, 2))
        corners, shares = mixtures(cost, quality, budgets)
        chosen, places = np.unique(corners, return_inverse=True)
        gives, takes = _outcomes(systems, [thresholds for thresholds, _, _ in tried], chosen, asked)
        places = places.reshape(corners.shape)
        way.quality[:, asked] = np.einsum("ck,ckn->kn", shares, gives[places])
        way.cost[:, asked] = np.einsum("ck,ckn->kn", shares, takes[places])
    return way


def _candidates(stages: Stages, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Threshold vectors (C, stages − 1), and the quality and the cost, (C,) each, that they are chosen by."""
    if method == "rational":
        thresholds, quality = rational.path(stages)
        return thresholds, quality, stages.points(thresholds).cost
    thresholds = grid(stages.scores, CANDIDATES)
    return thresholds, *_grid_means(stages, [np.unique(column) for column in thresholds.T])


def _grid_means(stages: Stages, axes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean quality and cost of every combination of thresholds, without an array of queries for each of them.

    Whole numbers, as of right and wrong answers and of FLOPs, are added exactly, in any order. So what is equally good
    does not depend on the machine.

    Args:
        axes: thresholds of each stage but the last; the combinations are in the order of `playback.grid`.
    """
    n = stages.quality.shape[1]
    gain = np.diff(stages.quality, axis=0)
    reached, quality, cost = np.ones((1, n)), stages.quality[:1].sum(axis=1), stages.cost[:1].sum(axis=1)
    for i, axis in enumerate(axes):
        deferred = (stages.scores[i] < axis[:, None]).astype(np.float64)
        quality = (quality[:, None] + (reached * gain[i]) @ deferred.T).ravel()
        cost = (cost[:, None] + (reached * stages.cost[i + 1]) @ deferred.T).ravel()
        if i + 1 < len(axes):
            reached = (reached[:, None] * deferred).reshape(-1, n)
    return np.round(quality / n, 12), cost / n


def _outcomes(systems, thresholds, chosen: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quality and cost, (chosen, n) each, of some of all candidates, numbered through from system to system."""
    gives, takes, first = [], [], 0
    for stages, vectors in zip(systems, thresholds, strict=True):
        own = chosen[(chosen >= first) & (chosen < first + len(vectors))] - first
        for _, quality, cost in _part(stages, asked).play(vectors[own]):
            gives.append(quality)
            takes.append(cost)
        first += len(vectors)
    return np.concatenate(gives), np.concatenate(takes)


def _part(stages: Stages, rows: np.ndarray) -> Stages:
    return Stages(stages.scores[:, rows], stages.quality[:, rows], stages.cost[:, rows])
