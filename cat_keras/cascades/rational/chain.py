"""A cascade as a Markov chain of confidences: expected quality and cost at any thresholds, and the best ones."""

import itertools
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.calibrated import platt, probability
from cat_keras.cascades.playback import Stages
from cat_keras.cascades.rational.confidence import Confidence

# Prices of a unit of cost, in units of quality, as shares of the last model's mean cost: from "spend whatever helps" to
# "spend nothing".
PRICES = np.concatenate([[0.0], np.geomspace(1e-3, 10, 60)])
BETWEEN = 8  # steps from the best thresholds at a price to those at the next
MOST_ALIKE = 0.95  # of Kendall's τ, beyond which two confidences are taken as this alike


@dataclass(frozen=True, eq=False)
class Chain:
    """A fitted cascade of k models.

    Attributes:
        confidences: of every model but the last. thetas: (k − 2,) of the Gumbel copula between neighbours, ≥ 1; 1 is
            independence. last: (M − 1,) expected quality of the last model where the score of the one before lies
            between two neighbouring thresholds. cost: (k,) mean of each model alone.
    """

    confidences: tuple[Confidence, ...]
    thetas: tuple[float, ...]
    last: np.ndarray
    cost: np.ndarray

    @classmethod
    def fit(cls, stages: Stages) -> "Chain":
        """From rows of known quality: a logistic curve and a distribution per model, and a number per neighbours."""
        from scipy.stats import kendalltau

        confidences = tuple(map(Confidence.fit, stages.scores, stages.quality))
        taus = [kendalltau(one.phi, other.phi).statistic for one, other in itertools.pairwise(confidences)]
        taus = np.clip(np.nan_to_num(taus), 0, MOST_ALIKE)
        before, after = confidences[-1], stages.quality[-1]
        if np.ptp(before.phi) > 0 and np.ptp(after) > 0:
            last = probability(platt(before.phi, after), before.cells)
        else:
            last = np.full(len(before.cells), after.mean())
        return cls(confidences, tuple((1 / (1 - taus)).tolist()), last, stages.cost.mean(axis=1))

    def expected(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quality and cost per query, (candidates,) each.

        Theorem 2 of the paper: the chance to reach a stage is a product over neighbours, since each confidence depends
        on the one before alone.

        Args:
            places: (candidates, k − 1) of the thresholds of each stage, see `Confidence.thresholds`.
        """
        reached, before = np.ones(len(places)), np.full(len(places), -1)
        quality, cost = np.zeros(len(places)), np.full(len(places), self.cost[0])
        for i, place in enumerate(places.T):
            kept, passed, given_up = self._tables(i)
            quality += reached * kept[before, place]
            if given_up is not None:
                quality += reached * given_up[before, place]
            reached = reached * passed[before, place]
            cost += reached * self.cost[i + 1]
            before = place
        return quality, cost

    def best(self, prices: np.ndarray) -> np.ndarray:
        """The thresholds that maximise quality − price · cost, exactly, (prices, k − 1) places.

        The paper climbs from several starts (L-BFGS-B). Since a stage depends on the one before alone, the best
        thresholds on a grid also follow stage by stage, from the last to the first, without a local optimum. [U]
        """
        worth, choices = None, []
        for i in reversed(range(len(self.confidences))):
            kept, passed, given_up = self._tables(i)
            total = kept - prices[:, None, None] * self.cost[i + 1] * passed
            total = total + (given_up if worth is None else passed * worth[:, None, :])  # (prices, before, place)
            choices.append(total.argmax(axis=2))
            worth = total.max(axis=2)
        rows, before = np.arange(len(prices)), np.full(len(prices), -1)
        places = []
        for choice in reversed(choices):
            before = choice[rows, before]
            places.append(before)
        return np.stack(places, axis=1)

    def _tables(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Of a query that reaches stage i since its score before lay below a threshold, for all pairs of thresholds.

        Returns:
            (before, own) each: the expected quality of answers that the stage keeps, as a share of all that reach it;
            the share that it passes on; and for the last of these stages the quality that the last model then gives.
        """
        own = self.confidences[i]
        share = self._given(i)
        mass = np.diff(share, axis=1)
        kept = np.zeros_like(share)
        kept[:, :-1] = np.cumsum((mass * own.cells)[:, ::-1], axis=1)[:, ::-1]
        if i < len(self.confidences) - 1:
            return kept, share, None
        given_up = np.zeros_like(share)
        given_up[:, 1:] = np.cumsum(mass * self.last, axis=1)
        return kept, share, given_up

    def _given(self, i: int) -> np.ndarray:
        """P(score of stage i < own threshold | score of the stage before < its threshold), (before, own).

        The last row is that of all queries.
        """
        levels = self.confidences[i].levels
        if i == 0:
            return levels[None]
        given = self.confidences[i - 1].levels[:, None]
        joint = gumbel(given, levels[None], self.thetas[i - 1])
        share = np.divide(joint, given, out=np.tile(levels, (len(given), 1)), where=given > 0)
        return np.maximum.accumulate(np.clip(share, 0, 1), axis=1)


def gumbel(u: np.ndarray, v: np.ndarray, theta: float) -> np.ndarray:
    """The Gumbel copula `exp(−((−log u)^θ + (−log v)^θ)^(1/θ))`, P(U ≤ u, V ≤ v); θ ≥ 1."""
    with np.errstate(divide="ignore"):
        one, other = -np.log(u), -np.log(v)
    largest = np.maximum(np.maximum(one, other), 1e-300)  # powers of what is far above 1 would overflow
    with np.errstate(invalid="ignore"):
        scaled = (one / largest) ** theta + (other / largest) ** theta
        joint = np.exp(-largest * scaled ** (1 / theta))
    return np.where(np.isinf(largest), 0.0, joint)


def path(stages: Stages) -> tuple[np.ndarray, np.ndarray]:
    """The best thresholds for every price of cost, and steps between them, from always deferring to never.

    The best at some price lie on the upper hull of quality over cost, which may have long edges; the steps are there
    for budgets within an edge.

    Args:
        stages: rows of known quality.

    Returns:
        (candidates, k − 1) thresholds on the scores, and (candidates,) expected quality by the fitted chain.
    """
    chain = Chain.fit(stages)
    places = chain.best(PRICES / max(float(chain.cost[-1]), 1e-300))
    never = np.zeros((1, len(chain.confidences)), np.int64)
    always = np.array([[len(each.thresholds) - 1 for each in chain.confidences]])
    corners = np.concatenate([always, places, never])
    steps = np.arange(BETWEEN)[:, None, None] / BETWEEN
    between = corners[:-1] + steps * (corners[1:] - corners[:-1])
    places = np.unique(np.concatenate([*np.rint(between).astype(np.int64), never]), axis=0)
    quality, _ = chain.expected(places)
    thresholds = [each.thresholds[place] for each, place in zip(chain.confidences, places.T, strict=True)]
    return np.stack(thresholds, axis=1), quality
