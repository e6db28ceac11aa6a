"""The probability of being right as a score: a rule's score through a curve fitted to answers of known quality.

Within one task a rising curve orders as the score does. Across tasks it does not: what 0.8 means on an easy task and on
a hard one differs, and one threshold on the probability serves both. UCCI, arXiv 2605.18796; it is also the P(S right)
of the Bayes rule for two models (arXiv 2307.02764).

    rule = deferral.get("isotonic-confidence")   # or platt-chow-average
    fitted = rule.fit(columns(predictions, quality_small=...))
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import NO_ANSWER, Rule, columns, digests, reading
from cat_keras.errors import CatKerasError

METHODS = ("isotonic", "platt")
LEAST = 50  # answers of a task that a curve of its own is fitted to
POOLED = ""  # the curve of all tasks together, for tasks with fewer and for those not seen
Curve = Mapping[str, list[float] | float]


@dataclass(frozen=True)
class Calibrated(Rule):
    """A rule that `fit` makes usable.

    Args:
        base: the rule whose score is calibrated. method: "isotonic", the best rising step-like curve, straight between
            its steps; "platt", `1 / (1 + exp(−(slope · score + intercept)))`, for few examples.
        by_task: whether each task with at least 50 examples has a curve of its own.
    """

    base: Rule
    method: str = "isotonic"
    by_task: bool = True
    needs_fit = True
    fit_needs = ("quality_small",)

    @property
    def name(self):
        return f"{self.method}-{self.base.name}"

    @property
    def needs(self):
        return tuple(dict.fromkeys(("task", *self.base.needs)))

    def score(self, columns):
        raise CatKerasError(f"A calibrated rule scores after it was fitted; {self.name!r} was not. Call fit first")

    def fit(self, predictions: Mapping[str, Sequence]) -> "FittedCalibrated":
        """The rule fitted to these answers.

        Args:
            predictions: columns with `id`, `task`, what the base rule reads, and `quality_small` in [0, 1].

        Raises:
            CatKerasError: a column is missing or out of range, or fewer than 10 rows have an answer.
        """
        table = columns(predictions)
        scores = self.base(table)
        with reading(self):
            ids = self._checked_ids(table, self.fit_needs)
            quality = np.asarray(table["quality_small"], dtype=np.float64)
        if not ((quality >= 0) & (quality <= 1)).all():
            raise CatKerasError("A rule is calibrated on qualities in [0, 1]. Received: others. Judge answers first")
        tasks, answered = np.asarray(table["task"], dtype=str), scores > NO_ANSWER
        if answered.sum() < 10:
            raise CatKerasError(f"A rule is calibrated on at least 10 answers. Received: {int(answered.sum())}")
        curves = {POOLED: self._curve(scores[answered], quality[answered])}
        for task in np.unique(tasks) if self.by_task else ():
            own = answered & (tasks == task)
            if own.sum() >= LEAST:
                curves[str(task)] = self._curve(scores[own], quality[own])
        return FittedCalibrated(self, curves, _keys(tasks, ids))

    def _curve(self, scores: np.ndarray, quality: np.ndarray) -> Curve:
        return _isotonic(scores, quality) if self.method == "isotonic" else platt(scores, quality)

    def config(self) -> dict:
        return {"name": self.name, "base": self.base.config(), "method": self.method, "by_task": self.by_task}


@dataclass(frozen=True, eq=False)
class FittedCalibrated(Rule):
    """A calibrated rule at work; score: the probability of being right (expected quality, where it is graded).

    Attributes:
        rule: what was fitted. curves: task → its curve, "" for all other tasks; an empty answer has probability 0.
        fitted_on: digests of the (task, id) it has seen, which it refuses to score.
    """

    rule: Calibrated
    curves: Mapping[str, Curve]
    fitted_on: frozenset[str]

    @property
    def name(self):
        return self.rule.name

    @property
    def needs(self):
        return self.rule.needs

    def score(self, columns):
        tasks, scores = np.asarray(columns["task"], dtype=str), self.rule.base(columns)
        if seen := self.fitted_on & _keys(tasks, list(columns["id"])):
            raise CatKerasError(
                f"A calibrated rule scores examples that it was not fitted on; {len(seen)} of {len(tasks)} it was. "
                "Split the data by id"
            )
        found = np.zeros(len(scores))
        for task in np.unique(tasks):
            own = (tasks == task) & (scores > NO_ANSWER)
            found[own] = probability(self.curves.get(str(task), self.curves[POOLED]), scores[own])
        return found

    def config(self) -> dict:
        """As `Calibrated.config`, with the curves and the digests of the examples it was fitted on."""
        return self.rule.config() | {"curves": dict(self.curves), "fitted_on": sorted(self.fitted_on)}


def probability(curve: Curve, scores: np.ndarray) -> np.ndarray:
    """Scores through a curve: `{"x": [...], "y": [...]}`, straight between its points and level beyond them, or
    `{"slope": a, "intercept": b}`, a logistic curve. (n,) in [0, 1]."""
    if "x" in curve:
        return np.interp(scores, curve["x"], curve["y"])
    return 1 / (1 + np.exp(-np.clip(curve["slope"] * scores + curve["intercept"], -700, 700)))


def from_config(config: Mapping, base: Rule) -> Calibrated | FittedCalibrated:
    """The rule, fitted or not, that `config` described; `base` as its `base` describes."""
    rule = Calibrated(base, config["method"], config["by_task"])
    if "curves" not in config:
        return rule
    return FittedCalibrated(rule, dict(config["curves"]), frozenset(config.get("fitted_on", ())))


def _keys(tasks: Sequence[str], ids: Sequence[str]) -> frozenset[str]:
    return frozenset(digest.hex() for digest in digests(0, tasks, ids))


def _isotonic(scores: np.ndarray, quality: np.ndarray) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, quality)
    return {"x": fitted.X_thresholds_.tolist(), "y": fitted.y_thresholds_.tolist()}


def platt(scores: np.ndarray, quality: np.ndarray) -> Curve:
    """By Platt's targets, (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2), so that a perfect split stays finite."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = scores.mean(), scores.std() or 1.0
    right, wrong = quality.sum(), (1 - quality).sum()
    target = quality * (right + 1) / (right + 2) + (1 - quality) / (wrong + 2)
    x = np.tile((scores - mean) / scale, 2)[:, None]
    y = np.repeat([1, 0], len(scores))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions that rename its arguments
        fitted = LogisticRegression(C=1e9, max_iter=200).fit(x, y, np.concatenate([target, 1 - target]))
    slope = float(fitted.coef_[0, 0]) / scale
    return {"slope": slope, "intercept": float(fitted.intercept_[0]) - slope * mean}
