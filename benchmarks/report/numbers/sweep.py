"""What methods change at every point of a sweep, and what that depends on; of the rows that
`benchmarks.running.sweeping` writes."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyarrow

from benchmarks.report.numbers.outcome import p_value
from benchmarks.report.reading.analysis import facts
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence
from cat_keras.evaluation.bootstrap import Interval, seed_weights
from cat_keras.evaluation.resampling import counts_beside_data
from cat_keras.evaluation.sweep import Sweep, weighted_sums
from cat_keras.evaluation.vectors import ROUNDING

RESAMPLES = 1000
DIFFERENCES = ("s_d", "audc", "small")
# What a rule of thumb reads, measured on validation data and in training; see `Place`.
FEATURES = ("headroom", "live", "auroc")
Answers = Mapping[str, Mapping[str, np.ndarray]]  # task → quality and score, (n,) each


@dataclass(frozen=True, eq=False)
class Place:
    """One point of a sweep.

    Attributes:
        facts: as `sweeping` wrote them: name, axes, parameters, seeds, live shares.
        measured: headroom: quality of the large model minus that of the small one, on validation data; live: share of
            live tokens in the training of the first method; auroc: of the score against the small model being right,
            on validation data, mean over tasks and seeds; capacity: binary logarithm of the ratio of parameters, large
            over small.
        levels: measure of `DIFFERENCES` → of the method that is compared with, on test data; large: of the large model.
        samples: measure → (1 + R,) difference of the two methods, of the data themselves and of each resample.
    """

    facts: Mapping
    measured: Mapping[str, float]
    levels: Mapping[str, float]
    samples: Mapping[str, np.ndarray]

    def interval(self, measure: str) -> Interval:
        """A difference with its 95 % interval over examples and seeds."""
        return Interval.of_defined(self.samples[measure])


@dataclass(frozen=True)
class Slope:
    """A coefficient of a linear regression over the points.

    Attributes:
        response: a measure of `DIFFERENCES`. predictor: an axis, a measure of a point, or "constant". model: which
            predictors stand beside it. points: how many. value: per unit of the predictor; shares are of 1.
        interval: over examples and seeds, the points as they are. p: of "no slope", likewise.
    """

    response: str
    predictor: str
    model: str
    points: int
    interval: Interval
    p: float


@dataclass(frozen=True, eq=False)
class Standing:
    """All points for one difference, method minus versus."""

    method: str
    versus: str
    places: tuple[Place, ...]
    predictors: tuple[str, ...]

    @cached_property
    def slopes(self) -> list[Slope]:
        """Of each response: on all predictors of the sweep together, on each of them alone, and on `FEATURES`."""
        named = dict.fromkeys([self.predictors, *((name,) for name in self.predictors), FEATURES])
        models = [model for model in named if model]
        return [slope for response in DIFFERENCES for model in models for slope in self._fit(response, model)]

    def coefficients(self, response: str, predictors: Sequence[str]) -> dict[str, np.ndarray]:
        """ "constant" and each predictor → (1 + R,), by least squares over the points; {} where these are too few."""
        table = np.array([[1.0, *(_value(place, name) for name in predictors)] for place in self.places])
        if len(table) <= table.shape[1] or np.linalg.matrix_rank(table) < table.shape[1] or np.isnan(table).any():
            return {}
        samples = np.array([place.samples[response] for place in self.places])
        return dict(zip(("constant", *predictors), np.linalg.lstsq(table, samples, rcond=None)[0], strict=True))

    def _fit(self, response: str, predictors: Sequence[str]) -> list[Slope]:
        return [
            Slope(
                response, name, " + ".join(predictors), len(self.places), Interval.of_defined(values), p_value(values)
            )
            for name, values in self.coefficients(response, predictors).items()
        ]


def standings(table: pyarrow.Table, resamples: int = RESAMPLES) -> list[Standing]:
    """One for each difference of the sweep, over the points that have both methods."""
    said, answers = facts(table), _answers(table)
    areas: dict[tuple, np.ndarray] = {}
    found = []
    for method, versus in said["differences"]:
        points = [_ordered(p, said["axes"]) for p in said["points"] if {method, versus} <= {*p["methods"]}]
        places = tuple(_place(point, method, versus, answers, areas, resamples) for point in points)
        if places:
            found.append(Standing(method, versus, places, tuple(said["regression"])))
    return found


def _answers(table: pyarrow.Table) -> dict[str, Answers]:
    frame, found = table.to_pandas(), {}
    if frame.empty:
        raise CatKerasError(
            "A sweep has a point that is finished. Received: none. Run it on: python -m benchmarks sweep"
        )
    for (key, task), rows in frame.groupby(["answers", "task"], sort=False):
        rows = rows.sort_values("id")
        found.setdefault(key, {})[task] = {name: rows[name].to_numpy(np.float64) for name in ("quality", "score")}
    return found


def _ordered(point: Mapping, axes: Sequence[str]) -> dict:
    """A point with its axes in the order of the sweep."""
    return {**point, "axes": {name: point["axes"][name] for name in axes}}


def _place(
    point: Mapping, method: str, versus: str, answers: Mapping[str, Answers], areas: dict, resamples: int
) -> Place:
    test = point["answers"]["test"]
    by_method = {}
    for name in (method, versus):
        keys = [test[f"{name}/{seed}"] for seed in point["seeds"]]
        by_method[name] = np.array([_of_model(point, test["large"], key, answers, areas, resamples) for key in keys])
    weights = seed_weights(np.random.default_rng(0), len(point["seeds"]), resamples)
    first, second = (_measures(by_method[name], weights) for name in (method, versus))
    large = float(np.mean([answers[test["large"]][task]["quality"].mean() for task in point["tasks"]]))
    return Place(
        point,
        _measured(point, method, versus, answers),
        {name: float(values[0]) for name, values in second.items()} | {"large": large},
        {name: first[name] - second[name] for name in DIFFERENCES},
    )


def _of_model(point: Mapping, large: str, small: str, answers, areas: dict, resamples: int) -> np.ndarray:
    """(4, 1 + R): quality alone, and the areas of the score, of random deferral and of the oracle, means over tasks."""
    if (large, small) not in areas:
        tasks = [
            _areas(task, answers[small][task], answers[large][task]["quality"], resamples) for task in point["tasks"]
        ]
        areas[large, small] = np.mean(tasks, axis=0)
    return areas[large, small]


def _areas(task: str, small: Mapping[str, np.ndarray], large: np.ndarray, resamples: int) -> np.ndarray:
    """(4, 1 + R) of one model on one task; all models get the same resamples of it."""
    quality, n = small["quality"], len(large)
    counts = _counts(task, n, resamples)
    gain = large - quality
    alone, full = weighted_sums(np.stack([quality, large], axis=1), counts) / n
    audc, oracle = (alone + Sweep(order, gain).areas(counts)[0] / n**2 for order in (small["score"], -gain))
    return np.stack([alone, audc, (alone + full) / 2, oracle])


@lru_cache(maxsize=16)
def _counts(task: str, n: int, resamples: int) -> np.ndarray:
    """(n, 1 + R) how often each resample of a task has each of its examples; the data themselves come first."""
    return counts_beside_data(np.random.default_rng(zlib.crc32(task.encode())), n, resamples)


def _measures(areas: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Measure → (1 + R,) from the areas of all seeds, (S, 4, 1 + R); s_d is averaged over seeds as in the report."""
    alone, audc, random, oracle = np.moveaxis(areas, 1, 0)
    room = oracle - random
    s_d = np.divide(audc - random, room, out=np.full_like(room, np.nan), where=room > ROUNDING * np.abs(oracle))
    return {
        name: np.einsum("sr,rs->r", values, weights)
        for name, values in (("s_d", s_d), ("audc", audc), ("small", alone))
    }


def _measured(point: Mapping, method: str, versus: str, answers: Mapping[str, Answers]) -> dict[str, float]:
    keys = point["answers"]["validation"]
    small = [answers[keys[f"{versus}/{seed}"]] for seed in point["seeds"]]
    large, tasks = answers[keys["large"]], point["tasks"]
    leads = [large[task]["quality"].mean() - one[task]["quality"].mean() for one in small for task in tasks]
    bars = {task: confidence.bar([one[task]["quality"] for one in small]) for task in tasks}
    aurocs = [
        confidence.auroc(one[task]["score"], one[task]["quality"] > bars[task]) for one in small for task in tasks
    ]
    sizes = point["parameters"]
    return {
        "headroom": float(np.mean(leads)),
        "live": float(point["live"].get(method, np.nan)),
        "auroc": float(np.nanmean(aurocs)) if not np.isnan(aurocs).all() else float("nan"),
        "capacity": float(np.log2(sizes["large"] / sizes["small"])),
    }


def _value(place: Place, name: str) -> float:
    return float(place.measured[name] if name in place.measured else place.facts["axes"][name])
