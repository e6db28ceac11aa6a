"""What a cascade of two models is worth, for many pairs at once, and what that goes with: of the rows of
`benchmarks.importing.pairs`."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow
import scipy.stats

from benchmarks.report.numbers.outcome import p_value
from benchmarks.report.numbers.resampled_curves import Sampled
from benchmarks.report.reading.analysis import facts
from cat_keras.evaluation.bootstrap import Interval, seed_weights
from cat_keras.evaluation.curves import tie_groups
from cat_keras.evaluation.steps import Steps, at_rates, curves

RESAMPLES = 500
POINTS = 401  # of a curve, straight between them
MEASURES = ("small", "lead", "s_d", "auroc", "saving", "calls_saved")
PREDICTORS, OUTCOMES = ("lead", "auroc"), ("saving", "calls_saved", "s_d")
PUBLIC, OWN = "language models", "this project"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models on one task. Every measure is (1 + R,): of the questions themselves, and of each resample.

    Attributes:
        source, task, small, large, score: names. own: whether a run of this project made it. questions, seeds: how
            many. ratio: cost of an answer of the small model over that of the large one; NaN where it is not known.
        values: measure → values. small: quality of the small model alone; lead: of the large model minus that; s_d;
            auroc: of the score against the small model being right; saving: 1 − cost of the cascade that is as good as
            the large model alone, over the cost of that; calls_saved: the share of questions that it keeps.
    """

    source: str
    task: str
    small: str
    large: str
    score: str
    own: bool
    questions: int
    seeds: int
    ratio: float
    values: Mapping[str, np.ndarray]

    @property
    def counted(self) -> bool:
        """Whether the large model is ahead; where it is not, there is nothing to defer to."""
        return bool(self.values["lead"][0] > 0)

    def interval(self, measure: str) -> Interval:
        """The measure with its 95 % interval over questions, and over seeds where there are several."""
        return Interval.of_defined(self.values[measure])


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a predictor with an outcome over pairs.

    Attributes:
        over: `PUBLIC` or `OWN`. predictor, outcome: measures. pairs: how many.
        questions: with its interval over questions and seeds, these pairs as they are. p: of "none", likewise.
        models: over the models too, which pairs share; NaN of the own pairs, which share none.
    """

    over: str
    predictor: str
    outcome: str
    pairs: int
    questions: Interval
    p: float
    models: Interval


def standings(table: pyarrow.Table, resamples: int = RESAMPLES) -> list[Pair]:
    """All pairs of a table, in its order."""
    frame = table.to_pandas()
    groups = {key: _models(rows) for key, rows in frame.groupby(["source", "task", "group"], sort=False)}
    counts: dict[tuple, np.ndarray] = {}
    found = []
    for entry in facts(table)["pairs"]:
        key = entry["source"], entry["task"], entry["group"]
        if key not in counts:
            n = len(next(iter(groups[key].values()))["quality"])
            counts = {key: _counts(key, n, resamples)}  # pairs of a group stand together
        found.append(_pair(entry, groups[key], counts[key]))
    return found


def correlations(pairs: list[Pair]) -> list[Correlation]:
    """Every predictor with every outcome, over the pairs whose large model is ahead."""
    found = []
    for over, own in ((PUBLIC, False), (OWN, True)):
        for outcome in OUTCOMES:
            kept = [p for p in pairs if p.own == own and p.counted and not np.isnan(p.values[outcome][0])]
            if len(kept) > 2:
                found += [_correlation(over, predictor, outcome, kept) for predictor in PREDICTORS]
    return found


def _models(rows) -> dict[tuple[str, int], Mapping[str, np.ndarray]]:
    return {
        key: {name: part[name].to_numpy() for name in rows.columns}
        for key, part in rows.groupby(["model", "seed"], sort=False)
    }


def _counts(key: tuple, n: int, resamples: int) -> np.ndarray:
    """(1 + R, n) how often each resample has each question: equal for all models that answered the same ones."""
    rng = np.random.default_rng([zlib.crc32(f"{key[0]}/{key[1]}".encode()), n])
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([np.ones((1, n), np.int64), drawn])


def _pair(entry: Mapping, models: Mapping, counts: np.ndarray) -> Pair:
    own, seeds = entry.get("own", False), entry["seeds"]
    large = models[entry["large"], -1 if own else 0]
    by_seed = [dict(_values(models[entry["small"], seed], large, entry["score"], counts)) for seed in seeds]
    resamples = len(counts) - 1
    weights = seed_weights(np.random.default_rng(0), len(seeds), resamples)
    values = {name: np.einsum("sr,rs->r", [each[name] for each in by_seed], weights) for name in MEASURES}
    ratio = np.mean([models[entry["small"], seed]["cost"].mean() for seed in seeds]) / large["cost"].mean()
    names = (entry[key] for key in ("source", "task", "small", "large", "score"))
    return Pair(*names, own, counts.shape[1], len(seeds), float(ratio), values)


def _values(small: Mapping, large: Mapping, score: str, counts: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The measures of one small model, (1 + R,) each."""
    n = counts.shape[1]
    score, gain = small[score], large["quality"] - small["quality"]
    alone, full = (np.einsum("rn,n->r", counts, model["quality"]) / n for model in (small, large))
    yield "small", alone
    yield "lead", full - alone
    raised, paid = Steps(score, [gain, large["cost"]])(counts)
    quality = curves(alone, raised / n)
    chance = (alone + full) / 2
    ideal = _area(curves(alone, Steps(-gain, [gain])(counts)[0] / n)) - chance
    yield "s_d", np.divide(_area(quality) - chance, ideal, out=np.full(len(ideal), np.nan), where=ideal > 1e-12)
    yield "auroc", _auroc(score, small["right"], counts)
    rate = np.linspace(0, 1, min(POINTS, n + 1))
    thinned = at_rates(quality, rate)
    calls = Sampled(rate, thinned, np.broadcast_to(rate, thinned.shape), np.empty(0))
    yield "calls_saved", 1 - calls.cost_at_quality(full)
    costs = [np.einsum("rn,n->r", counts, model["cost"]) / n for model in (small, large)]
    if np.isnan(costs).any():
        yield "saving", np.full(len(counts), np.nan)
    else:
        cascade = Sampled(rate, thinned, at_rates(curves(costs[0], paid / n), rate), np.empty(0))
        yield "saving", 1 - cascade.cost_at_quality(full) / costs[1]


def _area(quality: np.ndarray) -> np.ndarray:
    """(R,) areas under curves (R, n + 1), by trapezoids."""
    return (quality.sum(axis=1) - (quality[:, 0] + quality[:, -1]) / 2) / (quality.shape[1] - 1)


def _auroc(score: np.ndarray, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,) as `confidence.auroc`, of questions that count as often as they were drawn; NaN where all are alike."""
    order, last = tie_groups(score)
    first = np.append(0, last[:-1] + 1)
    positive, negative = (
        np.add.reduceat(counts[:, order] * side[order], first, axis=1).astype(np.float64) for side in (right, ~right)
    )
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide((positive * below).sum(axis=1), pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _correlation(over: str, predictor: str, outcome: str, pairs: list[Pair]) -> Correlation:
    x, y = (np.array([pair.values[name] for pair in pairs]) for name in (predictor, outcome))
    resamples = x.shape[1]
    plain = [spearman(x[:, r], y[:, r]) for r in range(resamples)]
    rng, models = np.random.default_rng(0), sorted({name for p in pairs for name in (p.small, p.large)})
    places = [[models.index(p.small), models.index(p.large)] for p in pairs]
    together = []
    for r in range(1, resamples) if over == PUBLIC else ():
        drawn = rng.multinomial(len(models), np.full(len(models), 1 / len(models)))
        times = drawn[places].prod(axis=1)
        together.append(spearman(np.repeat(x[:, r], times), np.repeat(y[:, r], times)))
    plain, together = np.array(plain), np.array([plain[0], *together])
    of_questions = Interval.of_defined(plain), p_value(plain)
    return Correlation(over, predictor, outcome, len(pairs), *of_questions, Interval.of_defined(together))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """The rank correlation of what both define; NaN of fewer than three, or where one side is constant."""
    defined = ~(np.isnan(x) | np.isnan(y))
    x, y = (scipy.stats.rankdata(values[defined]) for values in (x, y))
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
