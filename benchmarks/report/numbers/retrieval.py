"""Numbers of a retrieval run: measures with intervals, of the rows that `benchmarks.retrieving.run` writes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow

from benchmarks.planning.ladder import WHOLE
from benchmarks.report.reading.analysis import facts
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.evaluation.resampling import Streams

MEASURES = ("RR@10", "nDCG@10", "R@10", "R@100")
MAIN = MEASURES[0]
RESAMPLES = 2000
KINDS = ("denser", "ranker")  # of elastic models


@dataclass(frozen=True)
class Standing:
    """One retriever, with so many of its documents reranked; means over seeds and queries.

    Attributes:
        measures: name → mean with its 95 % interval. difference: of the reciprocal rank to the rung before, of a
            ranking to itself before reranking, or of a size to the whole; None for none. to_alone: to the student
            alone.
        flops: per query. spread: standard deviation over seeds of the mean reciprocal rank; NaN of one seed.
        seeds: how many.
    """

    measures: Mapping[str, Interval]
    difference: Interval | None
    to_alone: Interval | None
    flops: float
    spread: float
    seeds: int


Standings = Mapping[tuple[str, int], Standing]  # (model, documents reranked)


def sizes(facts: dict) -> dict[str, str]:
    """Model at a size → that at the whole size; the bi-encoders, then the rankers. Empty without elastic models."""
    names = facts.get("elastic", {}).get("sizes", ())
    return {f"{kind}-{name}": f"{kind}-{WHOLE}" for kind in KINDS for name in names}


def standings(table: pyarrow.Table, resamples: int = RESAMPLES) -> Standings:
    """All of a table. Intervals are of a paired bootstrap over test queries: every model gets the same resamples."""
    frame, before, wholes = table.to_pandas(), facts(table)["before"], sizes(facts(table))
    groups = dict(list(frame.groupby(["model", "reranked"], sort=False)))
    queries = sorted(frame["query"].unique())
    # (models, measures, n): the mean over seeds for each query
    means = {key: _by_query(rows, queries) for key, rows in groups.items()}
    stacked = np.stack(list(means.values())).reshape(-1, len(queries))
    streams = Streams(np.random.default_rng(0))
    sampled = streams.map("queries", len(queries), resamples, lambda counts: counts.T @ stacked.T / len(queries))
    sampled = sampled.reshape(resamples, len(means), len(MEASURES))
    place = {key: i for i, key in enumerate(means)}

    def interval(key, measure, other=None):
        values, samples = means[key][measure], sampled[:, place[key], measure]
        if other is not None:
            values, samples = values - means[other][measure], samples - sampled[:, place[other], measure]
        return Interval.of(values.mean(), samples)

    standing = {}
    for (model, depth), rows in groups.items():
        of_seeds = rows.groupby("seed")[MAIN].mean()
        other = (model, 0) if depth else (before.get(model), 0)
        if model in wholes:
            other = (wholes[model], depth) if wholes[model] != model else None
        alone = ("alone", 0) if not depth and model in before else None
        standing[model, depth] = Standing(
            {name: interval((model, depth), i) for i, name in enumerate(MEASURES)},
            interval((model, depth), 0, other) if other in groups else None,
            interval((model, depth), 0, alone) if alone in groups else None,
            float(rows["flops"].mean()), float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else float("nan"),
            len(of_seeds),
        )  # fmt: skip
    return standing


def _by_query(rows, queries) -> np.ndarray:
    """(measures, n) means over seeds."""
    table = rows.groupby("query")[list(MEASURES)].mean()
    return table.loc[queries].to_numpy().T
