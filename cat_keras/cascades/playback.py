"""Simulation of a cascade from recorded answers: which stage answers, how well and at what cost, at any thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cat_keras.evaluation.grid import midpoints

CANDIDATES = 20_000  # at most so many combinations of thresholds in a grid


@dataclass(frozen=True, eq=False)
class Points:
    """Candidate thresholds and the averages of the cascade at each.

    Attributes:
        thresholds: (k, stages − 1). deferral: (k, stages − 1), share passed on of the examples that a stage saw.
        quality: (k,), NaN where it is unknown. cost: (k,), per query, of all stages reached.
    """

    thresholds: np.ndarray
    deferral: np.ndarray
    quality: np.ndarray
    cost: np.ndarray


@dataclass(frozen=True, eq=False)
class Stages:
    """Scores, qualities and costs of every stage's answers to the same n examples.

    Attributes:
        scores: (stages − 1, n), of each stage but the last; stage i passes on what is below its threshold.
        quality: (stages, n), NaN where it is unknown. cost: (stages, n), of each stage alone.
    """

    scores: np.ndarray
    quality: np.ndarray
    cost: np.ndarray

    def play(self, thresholds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the stage that answers, the quality and the cost, each (candidates, n), for some candidates at a time.

        Args:
            thresholds: (candidates, stages − 1).
        """
        cumulative_cost = np.cumsum(self.cost, axis=0)
        n = self.scores.shape[1]
        for block in np.array_split(thresholds, 1 + len(thresholds) * n // 2_000_000):  # some tens of megabytes each
            deferred, stage = np.ones((len(block), n), bool), np.zeros((len(block), n), np.int64)
            for scores, stage_thresholds in zip(self.scores, block.T, strict=True):
                deferred &= scores < stage_thresholds[:, None]
                stage += deferred
            yield stage, np.take_along_axis(self.quality, stage, 0), np.take_along_axis(cumulative_cost, stage, 0)

    def points(self, thresholds: np.ndarray) -> Points:
        """Averages over the examples, at thresholds (candidates, stages − 1)."""
        blocks = [(_deferral_rates(stage, len(self.scores)), quality.mean(1), cost.mean(1))
                  for stage, quality, cost in self.play(thresholds)]  # fmt: skip
        return Points(thresholds, *map(np.concatenate, zip(*blocks, strict=True)))


def _deferral_rates(stage: np.ndarray, stages: int) -> np.ndarray:
    """(candidates, stages): share passed on of what each stage saw, 0 where it saw nothing."""
    reached = np.stack([(stage >= s).mean(1) for s in range(stages + 1)], axis=1)
    return reached[:, 1:] / np.maximum(reached[:, :-1], 1e-300)


def grid(scores: np.ndarray, candidates: int = CANDIDATES) -> np.ndarray:
    """Thresholds (candidates, stages − 1): every combination of those between scores, with never and always deferring.

    With two models these are all cascades that differ on these examples. With more, each stage gets as many thresholds,
    spread evenly over its scores, as keep the number of combinations below `candidates`.
    """
    limit = int(candidates ** (1 / len(scores)) + 1e-9)
    axes = np.meshgrid(*(_stage_thresholds(row, limit) for row in scores), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def _stage_thresholds(scores, limit):
    """At most `limit` thresholds of one stage, increasing from −inf to inf."""
    between = midpoints(np.unique(scores))
    if len(between) > limit - 2:
        # Spread over the examples and not over the distinct scores: many examples may share one.
        places = np.linspace(0, len(scores) - 1, limit - 1).round().astype(int)
        between = between[np.unique(np.searchsorted(between, np.sort(scores)[places])[1:] - 1)]
    return np.concatenate([[-np.inf], between, [np.inf]])


def common_path(scores: np.ndarray, levels: int) -> np.ndarray:
    """Thresholds (levels + 1, stages − 1) along one path from never to always deferring.

    At step k each stage passes on at most the share k / levels of the examples that reach it (ties are kept).
    """
    return np.array([_thresholds_at(scores, k / levels) for k in range(levels + 1)])


def _thresholds_at(scores, rate):
    """One threshold per stage, each deferring at most `rate` of what the stages before it pass on."""
    reached, thresholds = np.ones(scores.shape[1], bool), []
    for row in scores:
        # A stage that none of these examples reaches takes its threshold from all of them.
        thresholds.append(threshold(row[reached] if reached.any() else row, rate))
        reached = reached & (row < thresholds[-1])
    return thresholds


def threshold(scores: np.ndarray, rate: float) -> float:
    """A τ between two scores with at most `rate` of them below it, and as many as may be; ±inf for all or none."""
    count = int(rate * len(scores) + 1e-9)
    if count >= len(scores):
        return float("inf")
    levels = np.unique(scores)
    place = int(np.searchsorted(levels, np.sort(scores)[count]))  # the lowest level that is not deferred
    return float(midpoints(levels)[place - 1]) if place else float("-inf")
