"""A cascade played through on paper: who would have answered, how well and at what cost, at any thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CANDIDATES = 20_000  # at most so many combinations of thresholds in a grid


@dataclass(frozen=True, eq=False)
class Points:
    """Candidates and what each gives on average.

    Attributes:
        thresholds: (k, stages − 1). deferral: (k, stages − 1), share passed on of the examples that a stage saw.
        quality: (k,), NaN where nobody knows. cost: (k,), per query, of all stages reached.
    """

    thresholds: np.ndarray
    deferral: np.ndarray
    quality: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True, eq=False)
class Stages:
    """What every stage said to the same n examples.

    Attributes:
        scores: (stages − 1, n), of each stage but the last; stage i passes on what is below its threshold.
        quality: (stages, n), NaN where nobody knows. cost: (stages, n), of each stage alone.
    """

    scores: np.ndarray
    quality: np.ndarray
    cost: np.ndarray

    def play(self, thresholds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Stage that answers, quality and cost, each (some candidates, n), until all candidates are through.

        Args:
            thresholds: (candidates, stages − 1).
        """
        paid = np.cumsum(self.cost, axis=0)
        n = self.scores.shape[1]
        for some in np.array_split(thresholds, 1 + len(thresholds) * n // 2_000_000):  # some tens of megabytes each
            reached, stage = np.ones((len(some), n), bool), np.zeros((len(some), n), np.int64)
            for scores, limits in zip(self.scores, some.T, strict=True):
                reached &= scores < limits[:, None]
                stage += reached
            yield stage, np.take_along_axis(self.quality, stage, 0), np.take_along_axis(paid, stage, 0)

    def points(self, thresholds: np.ndarray) -> Points:
        """Averages over the examples, at thresholds (candidates, stages − 1)."""
        parts = [(_passed_on(stage, len(self.scores)), quality.mean(1), cost.mean(1))
                 for stage, quality, cost in self.play(thresholds)]  # fmt: skip
        return Points(thresholds, *map(np.concatenate, zip(*parts, strict=True)))


def _passed_on(stage: np.ndarray, stages: int) -> np.ndarray:
    """(candidates, stages): share passed on of what each stage saw, 0 where it saw nothing."""
    reached = np.stack([(stage >= s).mean(1) for s in range(stages + 1)], axis=1)
    return reached[:, 1:] / np.maximum(reached[:, :-1], 1e-300)


def grid(scores: np.ndarray) -> np.ndarray:
    """Thresholds (candidates, stages − 1): every combination of the scores that occur, never and always included.

    Of two models that is every cascade there is on these examples. Of more, each stage gets as many thresholds, spread
    evenly over its scores, as keep the combinations below `CANDIDATES`.
    """
    most = int(CANDIDATES ** (1 / len(scores)) + 1e-9)
    axes = np.meshgrid(*(_levels(row, most) for row in scores), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def _levels(scores, most):
    places = np.arange(len(scores)) if len(scores) < most else np.linspace(0, len(scores) - 1, most - 1).round()
    return np.concatenate([[-np.inf], np.unique(np.sort(scores)[places.astype(int)])[1:], [np.inf]])


def common_path(scores: np.ndarray, levels: int) -> np.ndarray:
    """Thresholds (levels + 1, stages − 1) on one line from never to always deferring.

    At step k each stage passes on at most the share k / levels of the examples that reach it (ties are kept).
    """
    return np.array([_step(scores, k / levels) for k in range(levels + 1)])


def _step(scores, rate):
    reached, thresholds = np.ones(scores.shape[1], bool), []
    for row in scores:
        # A stage that none of these examples reaches has its threshold from all of them.
        thresholds.append(threshold(row[reached] if reached.any() else row, rate))
        reached = reached & (row < thresholds[-1])
    return thresholds


def threshold(scores: np.ndarray, rate: float) -> float:
    """The largest τ for which at most `rate` of the scores are below it; ±inf to defer all or none at all."""
    count = int(rate * len(scores) + 1e-9)
    if rate == 0 or count >= len(scores):
        return float("inf") if rate else float("-inf")
    return float(np.sort(scores)[count])
