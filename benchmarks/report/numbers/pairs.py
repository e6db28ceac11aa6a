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
from cat_keras.evaluation.resampling import counts_beside_data
from cat_keras.evaluation.sweep import Sweep, auroc, weighted_sums

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
    """(n, 1 + R) how often each resample has each question: equal for all models that answered the same ones."""
    rng = np.random.default_rng([zlib.crc32(f"{key[0]}/{key[1]}".encode()), n])
    return counts_beside_data(rng, n, resamples)


def _pair(entry: Mapping, models: Mapping, counts: np.ndarray) -> Pair:
    own, seeds = entry.get("own", False), entry["seeds"]
    large = models[entry["large"], -1 if own else 0]
    by_seed = [dict(_values(models[entry["small"], seed], large, entry["score"], counts)) for seed in seeds]
    weights = seed_weights(np.random.default_rng(0), len(seeds), counts.shape[1] - 1)
    values = {name: np.einsum("sr,rs->r", [each[name] for each in by_seed], weights) for name in MEASURES}
    ratio = np.mean([models[entry["small"], seed]["cost"].mean() for seed in seeds]) / large["cost"].mean()
    names = (entry[key] for key in ("source", "task", "small", "large", "score"))
    return Pair(*names, own, len(counts), len(seeds), float(ratio), values)


def _values(small: Mapping, large: Mapping, score: str, counts: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The measures of one small model, (1 + R,) each."""
    n, gain, wrong = len(counts), large["quality"] - small["quality"], ~small["right"]
    columns = small["quality"], large["quality"], small["cost"], large["cost"], wrong
    alone, full, cost_small, cost_large, share_wrong = weighted_sums(np.stack(columns, axis=1), counts) / n
    yield "small", alone
    yield "lead", full - alone
    gained, found = Sweep(small[score], np.stack([gain, wrong], axis=1)).areas(counts) / n**2
    (ideal,) = Sweep(-gain, gain).areas(counts) / n**2
    random = (full - alone) / 2
    room = ideal - random
    yield "s_d", np.divide(gained - random, room, out=np.full(len(room), np.nan), where=room > 1e-12)
    yield "auroc", auroc(found, share_wrong)
    rate = np.linspace(0, 1, min(POINTS, n + 1))
    starts = np.stack([alone, cost_small])
    quality, cost = Sweep(small[score], np.stack([gain, large["cost"]], axis=1)).curves(counts, starts, rate)
    calls = Sampled(rate, quality, np.broadcast_to(rate, quality.shape), np.empty(0))
    yield "calls_saved", 1 - calls.cost_at_quality(full)
    if np.isnan(cost).any():
        yield "saving", np.full(len(cost), np.nan)
    else:
        yield "saving", 1 - Sampled(rate, quality, cost, np.empty(0)).cost_at_quality(full) / cost_large


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
