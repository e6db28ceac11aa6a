"""Bias–variance alignment of every method over its seeds, and whether the variance says when an answer is wrong."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages
from benchmarks.report.reading.load import START, Run
from cat_keras.cascades.deferral.options import compared
from cat_keras.cascades.deferral.rule import flatten, row_lengths
from cat_keras.evaluation import alignment
from cat_keras.evaluation.alignment import Decomposition, Line
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.evaluation.confidence import auroc
from cat_keras.evaluation.grid import on_grid

SEEDS = 5  # fewer members say too little of a variance
RESAMPLES = 1000


class Aligned(NamedTuple):
    """Numbers of one method.

    Attributes:
        parts: of every task, in order. right, wrong: the line through rightly and wrongly answered examples.
        slope: of `right`, with its 95 % interval over examples within tasks.
        auroc: score → AUROC of each training's answer being right, mean over tasks and seeds: the confidence, the
            variance of the members, and both after temperature scaling.
    """

    parts: tuple[Decomposition, ...]
    right: Line
    wrong: Line
    slope: Interval
    auroc: dict[str, float]


def by_method(run: Run) -> dict[str, Aligned]:
    """Method → its numbers; {} for a run with fewer than five seeds, or without tasks whose right options are known."""
    tasks = [name for name in run.covered if name in run.answers]
    methods = [m for m in run.methods if len(run.complete_seeds(m)) >= SEEDS and m != START]
    return {method: _aligned(run, method, tasks) for method in methods} if tasks else {}


def _aligned(run: Run, method: str, tasks: Sequence[str]) -> Aligned:
    parts, aurocs = [], {}
    for name in tasks:
        answers = run.answers[name]
        logprobs = np.stack([_padded(run.small[method, seed, name]) for seed in run.complete_seeds(method)])
        parts.append(alignment.decompose(alignment.tempered(logprobs), answers))
        for score, value in _aurocs(logprobs, answers).items():
            aurocs.setdefault(score, []).append(value)
    whole = Decomposition(*map(np.concatenate, zip(*parts, strict=True)))
    lines = [alignment.line(whole.bias[chosen], whole.variance[chosen]) for chosen in (whole.right, ~whole.right)]
    scores = {score: averages.mean(v for v in values if not np.isnan(v)) for score, values in aurocs.items()}
    return Aligned(tuple(parts), *lines, _interval(parts, lines[0].slope), scores)


def _padded(cell) -> np.ndarray:
    """(n, options) float64 log-likelihoods of the options, −inf where an example has fewer."""
    rows = compared(cell)
    lengths = row_lengths(rows)
    table = np.full((len(lengths), lengths.max()), -np.inf)
    table[np.arange(table.shape[1]) < lengths[:, None]] = flatten(rows)
    return table


def _aurocs(logprobs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Mean over members; the temperature of an example comes from the other half of the examples."""
    halves = np.random.default_rng(0).permutation(len(answers)) % 2
    scaled = np.empty_like(logprobs)
    for member, values in enumerate(logprobs):
        for half in (0, 1):
            fitted = halves != half
            heat = alignment.temperature(values[fitted], answers[fitted]) if fitted.any() else 1.0
            scaled[member, halves == half] = values[halves == half] / heat
    scores = {}
    for suffix, values in (("", logprobs), (", calibrated", scaled)):
        probabilities = alignment.tempered(values)
        variance = alignment.decompose(probabilities, answers).variance
        rights = probabilities.argmax(2) == answers
        confident = [auroc(on_grid(p.max(1)), right) for p, right in zip(probabilities, rights, strict=True)]
        scores[f"confidence{suffix}"] = averages.mean(confident)
        scores[f"variance{suffix}"] = averages.mean(auroc(-variance, right) for right in rights)
    return scores


def _interval(parts: Sequence[Decomposition], slope: float) -> Interval:
    """The slope of rightly answered examples with its percentiles over resamples of the examples within tasks."""
    rng, sums = np.random.default_rng(0), np.zeros((RESAMPLES, 5))
    for part in parts:
        counts = part.right & (part.bias > 0) & (part.variance > 0)
        x, y = (np.log(v, where=counts, out=np.zeros(len(v))) for v in (part.bias, part.variance))
        draws = rng.integers(len(x), size=(RESAMPLES, len(x)))
        sums += np.stack([column[draws].sum(1) for column in (counts, x, y, x * x, x * y)], axis=1)
    size, sum_x, sum_y, sum_xx, sum_xy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = (sum_xy - sum_x * sum_y / size) / (sum_xx - sum_x**2 / size)
    if not np.isfinite([slope, *slopes]).all():
        return Interval(slope, float("nan"), float("nan"))
    return Interval.of(slope, slopes)
