"""Numbers of rejecting: risks of what is kept, of the rows that `benchmarks.running.rejecting` writes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow

from benchmarks.report.reading.analysis import facts
from cat_keras.evaluation import bootstrap, confidence, rejection
from cat_keras.evaluation.bootstrap import Interval

BASELINE = "max-probability"
LABELS = ("elsewhere", "method", "seed", "task", "id", "outside", "loss")
RESAMPLES = 1000
SHARES = np.linspace(0, 1, 41)


@dataclass(frozen=True, eq=False)
class Standing:
    """One rule on one mixture with one method's answers, averaged over seeds.

    Attributes:
        area: of the joint risk over the share rejected. difference: of the area to that of maximum probability.
        at_budget: joint risk where as many are rejected as are from elsewhere.
        auroc: of own against others. augrc: of the mixture, others counting as wrong.
        curve, low, high: (shares,) joint risk at `SHARES`, with the ends of its 95 % interval at each.
        kept: (shares,) risk of what is kept.
    """

    area: Interval
    difference: Interval
    at_budget: Interval
    auroc: float
    augrc: float
    curve: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kept: np.ndarray


Standings = Mapping[tuple[str, str, str], Standing]  # (elsewhere, method, rule)


def standings(table: pyarrow.Table, resamples: int = RESAMPLES) -> Standings:
    """All of a table. Intervals are of a paired bootstrap over questions, own and others apart, and over seeds."""
    c_fn = facts(table)["c_fn"]
    frame = table.to_pandas()
    rules = [name for name in table.column_names if name not in LABELS]
    found = {}
    for (elsewhere, method), rows in frame.groupby(["elsewhere", "method"], sort=False):
        seeds = [group for _, group in rows.groupby("seed", sort=True)]
        rng = np.random.default_rng(0)  # the same resamples for every method
        weights = _weights(rng, seeds[0]["outside"].to_numpy(), resamples)
        of_seeds = bootstrap.draw_seeds(rng, len(seeds), resamples)
        sampled = {rule: _sampled(seeds, rule, c_fn, weights, of_seeds) for rule in rules}
        for rule in rules:
            found[elsewhere, method, rule] = _standing(seeds, rule, c_fn, sampled[rule], sampled[BASELINE])
    return found


def _weights(rng, outside: np.ndarray, resamples: int) -> np.ndarray:
    """(R, n) how often each resample draws each question, as many of either side as there are."""
    weights = np.zeros((resamples, len(outside)))
    for side in (outside, ~outside):
        weights[:, side] = rng.multinomial(side.sum(), np.full(side.sum(), 1 / side.sum()), size=resamples)
    return weights


def _sampled(seeds, rule, c_fn, weights, of_seeds) -> tuple[np.ndarray, np.ndarray]:
    """Areas, (1 + R,), and curves at `SHARES`, (1 + R, shares), the first of all questions and seeds."""
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights])
    of_seeds = np.concatenate([np.full((1, len(seeds)), 1 / len(seeds)), of_seeds])
    areas, curves = [], []
    for rows in seeds:
        rejected, joint = rejection.resampled(rows[rule], rows["loss"], rows["outside"], c_fn, weights)
        areas.append(np.trapezoid(joint, rejected, axis=1))
        curves.append([np.interp(SHARES, *curve) for curve in zip(rejected, joint, strict=True)])
    return np.einsum("sr,rs->r", areas, of_seeds), np.einsum("srk,rs->rk", curves, of_seeds)


def _standing(seeds, rule, c_fn, sampled, baseline) -> Standing:
    areas, curves = sampled
    budget = seeds[0]["outside"].mean()
    at_budget = np.array([np.interp(budget, SHARES, curve) for curve in curves])
    exact = [rejection.joint_curve(rows[rule], rows["loss"], rows["outside"], c_fn) for rows in seeds]
    mixed = [np.where(rows["outside"], 1.0, rows["loss"]) for rows in seeds]
    low, high = np.quantile(curves[1:], [0.025, 0.975], axis=0)
    return Standing(
        area=_interval(areas),
        difference=_interval(areas - baseline[0]),
        at_budget=_interval(at_budget),
        auroc=float(np.mean([confidence.auroc(rows[rule], ~rows["outside"]) for rows in seeds])),
        augrc=float(np.mean([confidence.augrc(rows[rule], loss) for rows, loss in zip(seeds, mixed, strict=True)])),
        curve=curves[0],
        low=low,
        high=high,
        kept=np.mean([np.interp(SHARES, curve.rejected, curve.kept) for curve in exact], axis=0),
    )


def _interval(values: np.ndarray) -> Interval:
    return Interval.of(values[0], values[1:])
