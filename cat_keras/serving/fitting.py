"""Knobs that keep a latency budget, the rate at which a policy breaks it, and what another one costs in quality."""

import math
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import COUNT, SEED, CatKerasError, check_number
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.serving.dial import Dial
from cat_keras.serving.policies import Family, Policy
from cat_keras.serving.simulation import Served, simulate
from cat_keras.serving.streams import RATE, scaled

TAIL = 0.99  # the share of the requests that a budget is for
MARGIN = 0.9  # of the budget is what knobs may use where they are fitted, as other streams are somewhat different
AT_ONCE = 1e4  # times what the last server can answer: all requests come at once
STEPS = 7  # of the bisection for a rate: it is then known to 1 %


@dataclass(frozen=True, eq=False)
class Fitted:
    """The policy of a family that was chosen.

    Attributes:
        family, policy: it. tail: its largest 99th percentile of latency, seconds, over the loads it was fitted at.
        quality: mean over these loads, on the stream that it was fitted on, who was shed counting as 0.
        holds: whether nine tenths of the budget were enough there.
    """

    family: Family
    policy: Policy
    tail: float
    quality: float
    holds: bool


def fit(family: Family, dial: Dial, arrivals: np.ndarray, rate: float, budget: float, seed: int = 0) -> Fitted | None:
    """Chooses a family's knobs on a stream: the best quality among those that keep the budget at all of its loads,
    with a tenth to spare.

    Where none keeps it, the knobs with the smallest 99th percentile are taken.

    Args:
        dial: its examples are those that requests are served with here. arrivals: the stream, at any rate.
        rate: the base rate, requests a second. budget: of the 99th percentile of the latency, seconds. seed: of
            durations.

    Returns:
        None where no policy of the family keeps the promise of the dial.
    """
    check_number("budget", budget, "(0, inf)")
    check_number("rate", rate, RATE)
    tried = []
    for policy in family.candidates(dial, budget):
        runs = [simulate(dial.service, scaled(arrivals, rate * load), policy, dial.rows, seed) for load in family.loads]
        tail = max(served.percentile(TAIL) for served in runs)
        quality = float(np.mean([served.quality.mean() for served in runs]))
        tried.append(Fitted(family, policy, tail, quality, tail <= MARGIN * budget))
    kept = [each for each in tried if each.holds]
    if kept:
        return max(kept, key=lambda each: (each.quality, -each.tail))
    return min(tried, key=lambda each: each.tail, default=None)


def breaking_rate(dial: Dial, policy: Policy, arrivals: np.ndarray, budget: float, rows: np.ndarray | None = None,
                  seed: int = 0) -> float:  # fmt: skip
    """The largest rate, requests a second and to 1 %, at which the 99th percentile of the latency keeps the budget.

    Args:
        dial, arrivals, budget, seed: as in `fit`. policy: it. rows: examples to serve with; by default the dial's.

    Returns:
        the rate; infinity where the budget is kept however quickly requests come, as they are few or are shed.

    Raises:
        CatKerasError: the budget is not kept at any rate; the message has the nearest that is.
    """
    check_number("budget", budget, "(0, inf)")
    rows = dial.rows if rows is None else rows

    def tail(rate):
        return simulate(dial.service, scaled(arrivals, rate), policy, rows, seed).percentile(TAIL)

    low = dial.capacity(dial.best)
    tails = [tail(low)]
    while tails[-1] > budget and len(tails) < 12:
        low /= 2
        tails.append(tail(low))
    if tails[-1] > budget:
        raise CatKerasError(
            f"A latency budget is one that can be met. Received: {1000 * budget:.4g} ms, and at {low:.3g} requests a "
            f"second the 99th percentile is {1000 * tails[-1]:.4g} ms. Allow more than {1000 * min(tails):.4g} ms, or "
            "take a quicker model"
        )
    high = 2 * low
    while tail(high) <= budget:
        if high > AT_ONCE * dial.capacity(dial.best):
            return math.inf
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) <= budget else (low, middle)
    return low


def quality_difference(served: Served, reference: Served, blocks: int = 20, resamples: int = 1000,
                       seed: int = 0) -> Interval:  # fmt: skip
    """Mean quality minus that of a reference over the same requests, with a 95 % percentile interval.

    Requests that share an example are not independent, nor are those that came at about the same time. So examples and
    blocks of time are resampled, both with replacement (the pigeonhole bootstrap of Owen, arXiv 0712.1111, whose
    intervals are rather too wide than too narrow).

    Args:
        served, reference: of the same number of requests with the same examples; who was shed counts as quality 0.
        blocks: of equally many successive requests. resamples, seed: of the bootstrap.

    Raises:
        CatKerasError: other requests in the two.
    """
    check_number("blocks", blocks, "[1, 10000]", whole=True)
    check_number("resamples", resamples, COUNT, whole=True)
    rng = np.random.default_rng(check_number("seed", seed, SEED, whole=True))
    if not np.array_equal(served.example, reference.example):
        raise CatKerasError("Policies are compared on the same requests. Received: requests with other examples")
    n, blocks = len(served.example), min(blocks, len(served.example))
    _, example = np.unique(served.example, return_inverse=True)
    cells = example * blocks + np.arange(n) * blocks // n
    shape = (example.max() + 1, blocks)
    difference = served.quality - reference.quality
    sums, counts = (np.bincount(cells, weights, np.prod(shape)).reshape(shape) for weights in (difference, None))
    values = np.concatenate(
        [
            _resampled(rng, sums, counts, len(part))
            for part in np.array_split(np.arange(resamples), 1 + resamples * shape[0] // 1_000_000)
        ]
    )  # some megabytes at a time
    return Interval.of(difference.mean(), values)


def _resampled(rng, sums: np.ndarray, counts: np.ndarray, resamples: int) -> np.ndarray:
    """Means of resamples; one that happens to hold no request is left out."""
    of_examples, of_blocks = (rng.multinomial(k, np.full(k, 1 / k), size=resamples) for k in sums.shape)
    total, count = (((of_examples @ cells) * of_blocks).sum(1) for cells in (sums, counts))
    return total[count > 0] / count[count > 0]
