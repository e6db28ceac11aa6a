"""Whether a cascade is worth it: what its thresholds give on rows they were not chosen on, against doing without.

Three rivals: each model alone; deferral at random, as much at every stage; and a coin that chooses one model before it
is asked, at the same mean cost. The coin is the hardest of them where the small model is not free, since it pays one
model per query; a cascade that does not beat it is not worth its trouble, however good its scores are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.playback import Stages
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.evaluation.resampling import Streams
from cat_keras.evaluation.significance import two_sided
from cat_keras.evaluation.vectors import ROUNDING

RESAMPLES = 2000
LEVEL = 0.95
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Against:
    """The cascade minus a rival, with 95 % intervals.

    Attributes:
        rival: its name. quality, cost: difference of the means per query. p_quality: of "equally good", two-sided.
    """

    rival: str
    quality: Interval
    cost: Interval
    p_quality: float


@dataclass(frozen=True)
class Verdict:
    """What thresholds give on held-out rows; intervals are of 95 %, by a bootstrap over rows within tasks.

    Attributes:
        rows: how many. quality, cost: mean per query. deferral: per stage but the last, of what it saw.
        models: name → (quality, cost) of each alone. against: the cascade minus each model alone, minus deferral at
            random, and minus the coin.
        worth: "yes", "no", or "not shown" where the rows are too few to tell. reason: why, in a sentence.
    """

    rows: int
    quality: Interval
    cost: Interval
    deferral: tuple[Interval, ...]
    models: dict[str, tuple[float, float]]
    against: tuple[Against, ...]
    worth: str
    reason: str


def judge(
    stages: Stages,
    thresholds: Sequence[float],
    tasks: np.ndarray | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    known_cost: bool = True,
    resamples: int = RESAMPLES,
) -> Verdict:
    """What thresholds give on these rows, and whether that is worth it.

    Args:
        stages: outcomes on rows that the thresholds were not chosen on. thresholds: one per stage but the last.
        tasks: (n,); rows are drawn within each. names: of the models. known_cost: whether costs are more than a count
            of calls. seed, resamples: of the bootstrap.
    """
    count, n = stages.quality.shape
    names = list(names or (f"model {i + 1}" for i in range(count)))
    answered, quality, cost = (each[0] for each in next(stages.play(np.atleast_2d(np.asarray(thresholds, float)))))
    shares = np.stack([answered == stage for stage in range(count)])
    table = np.column_stack([quality, cost, *shares, *stages.quality, *stages.cost]).astype(np.float64)
    means = _means(table, np.zeros(n, int) if tasks is None else tasks, seed, resamples)
    own_quality, own_cost = means[:, 0], means[:, 1]
    share, alone, price = (means[:, 2 + count * i : 2 + count * (i + 1)] for i in range(3))
    random = np.einsum("rs,rs->r", share, alone), np.einsum("rs,rs->r", share, np.cumsum(price, axis=1))
    rivals = {f"{name} alone": (alone[:, i], price[:, i]) for i, name in enumerate(names)}
    rivals["deferral at random"] = random
    if known_cost:
        rivals["a coin at the same cost"] = _coin(own_cost, alone, price), own_cost
    against = tuple(
        Against(name, _interval(own_quality - q), _interval(own_cost - c, own_cost[0]), _p_value(own_quality - q))
        for name, (q, c) in rivals.items()
    )
    reached = np.cumsum(share[:, ::-1], axis=1)[:, ::-1]
    deferral = tuple(
        _interval(np.divide(reached[:, i + 1], reached[:, i], out=np.zeros(len(share)), where=reached[:, i] > 0))
        for i in range(count - 1)
    )
    models = {name: (float(alone[0, i]), float(price[0, i])) for i, name in enumerate(names)}
    worth, reason = _worth(shares.mean(axis=1), names, against[-1])
    return Verdict(n, _interval(own_quality), _interval(own_cost), deferral, models, against, worth, reason)


def _means(table: np.ndarray, tasks: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Means of the columns on the rows, then in each resample: (1 + R, columns)."""
    streams, total = Streams(np.random.default_rng(seed)), 0.0
    for task in np.unique(tasks):
        own = table[tasks == task]
        total = total + streams.map(str(task), len(own), resamples, lambda counts, own=own: counts.T @ own)
    return np.concatenate([table.mean(axis=0)[None], total / len(table)])


def _coin(budget: np.ndarray, quality: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(R,): best mean quality of choosing at random among the models, each query paying one, within a budget."""
    best = np.where(cost <= budget[:, None] + 1e-12, quality, -np.inf).max(axis=1)
    count = quality.shape[1]
    for low in range(count):
        for high in range(count):
            between = (cost[:, low] <= budget) & (budget < cost[:, high])
            width = np.where(between, cost[:, high] - cost[:, low], 1.0)
            mixed = quality[:, low] + (budget - cost[:, low]) / width * (quality[:, high] - quality[:, low])
            best = np.where(between, np.maximum(best, mixed), best)
    return np.where(np.isfinite(best), best, quality[np.arange(len(quality)), cost.argmin(axis=1)])


def _interval(values: np.ndarray, scale: float = 1.0) -> Interval:
    values = np.where(np.abs(values) < ROUNDING * scale, 0.0, values)
    return Interval.of(values[0], values[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))


def _p_value(differences: np.ndarray) -> float:
    return two_sided(differences[1:])


def _worth(shares: np.ndarray, names: Sequence[str], rival: Against) -> tuple[str, str]:
    if shares.max() == 1:
        name = names[int(shares.argmax())]
        if shares.argmax() == 0:
            return "no", f"the thresholds never defer: ask {name} alone"
        return "no", f"the thresholds always defer to {name}: ask it alone, and save what the others cost"
    estimate, low, high = (f"{100 * value:+.2f}" for value in rival.quality)
    what = f"{estimate} points [{low}, {high}] of quality against {rival.rival}, p = {rival.p_quality:.2g}"
    if rival.quality.estimate > 0 and rival.p_quality < SIGNIFICANT:
        return "yes", what
    if rival.quality.estimate <= 0:
        return "no", what
    return "not shown", f"{what}: more held-out rows could tell"
