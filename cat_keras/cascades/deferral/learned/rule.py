"""Learned rules: their targets, their fit, and the separation of examples to fit from examples to score."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from cat_keras.cascades.deferral.learned.estimators import ESTIMATORS, Layers, predicted
from cat_keras.cascades.deferral.learned.features import features
from cat_keras.cascades.deferral.rule import NO_ANSWER, Rule, columns, digests, reading
from cat_keras.errors import CatKerasError, check_number, unknown_name

LEAST = 10  # fewest answers that an estimator is fitted to
QUALITIES, PROBABILITIES = ("quality_small", "quality_large"), ("probability_small", "probability_large")
TARGETS = {"quality": QUALITIES, "diff-01": QUALITIES, "diff-prob": PROBABILITIES}
Columns = Mapping[str, Sequence]


class _Table(NamedTuple):
    """Rows to fit or to score: digests of (task, id), whether there is an answer, features, and the target."""

    keys: np.ndarray
    answered: np.ndarray
    features: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class LearnedRule(Rule):
    """A rule that `fit` makes usable. Its score is minus the predicted gain of asking the large model.

    Args:
        target: what is predicted. `"quality"`: q_large − q_small. `"diff-01"`: 1[large right] − 1[small right], right
            meaning a quality above `bar`. `"diff-prob"`: p_large(y) − p_small(y) of the reference y, see
            `reference_probability`; classification.
        estimator: `"ridge"`, linear, with a penalty chosen by leave-one-out; `"mlp"`, with 16 hidden units; `"trees"`,
            gradient boosting, which cannot be stored.
        embedding: whether the column `embedding` (mean last hidden state, (n, d)) is a feature too.
        bar: see `target`.
    """

    target: str = "quality"
    estimator: str = "ridge"
    embedding: bool = False
    bar: float = 0.5
    needs_fit = True

    def __post_init__(self):
        if self.target not in TARGETS:
            raise unknown_name("target of a learned rule", self.target, TARGETS)
        if self.estimator not in ESTIMATORS:
            raise unknown_name("estimator of a learned rule", self.estimator, ESTIMATORS)
        check_number("bar of a learned rule", self.bar, "(-inf, inf)")

    @property
    def name(self):
        estimator = "" if self.estimator == "ridge" else f"-{self.estimator}"
        return f"learned-{self.target}{estimator}{'-embedding' * self.embedding}"

    @property
    def needs(self):
        return ("task", "token_logprobs", "option_logprobs", *(("embedding",) if self.embedding else ()))

    @property
    def fit_needs(self) -> tuple[str, str]:
        """The columns that `fit` reads besides `needs`."""
        return TARGETS[self.target]

    def score(self, columns):
        raise CatKerasError(f"A learned rule scores after it was fitted; {self.name!r} was not. Call fit first")

    def fit(self, predictions: Columns) -> "FittedRule":
        """A rule fitted to these rows; the same rows give the same rule.

        Args:
            predictions: columns with `id`, all of `needs` and all of `fit_needs`, (n,) rows.

        Raises:
            CatKerasError: a column is missing, NaN or infinite, or fewer than 10 rows have an answer.
        """
        with reading(self):
            return self._fit(self._table(predictions))

    def _table(self, predictions: Columns, inputs: dict[bool, tuple] | None = None) -> _Table:
        """The rows to fit to, all of whose answers have finite features and targets.

        Args:
            inputs: whether with embeddings → the first columns of the table, of rules on the same rows; filled here.
        """
        source = columns(predictions)
        ids = self._checked_ids(source, self.fit_needs)
        small, large = (np.asarray(source[name], dtype=np.float64) for name in self.fit_needs)
        if self.target == "diff-01":
            small, large = (np.where(np.isnan(q), q, q > self.bar) for q in (small, large))
        inputs = {} if inputs is None else inputs
        if self.embedding not in inputs:
            inputs[self.embedding] = _keys(source["task"], ids), *features(source, self.embedding)
        table = _Table(*inputs[self.embedding], large - small)
        bad = np.flatnonzero(table.answered & ~np.isfinite(table.features.sum(axis=1) + table.target))
        if bad.size:
            raise CatKerasError(
                f"A learned rule is fitted to finite numbers; the log-probabilities or qualities of example "
                f"{ids[bad[0]]!r} are not ({bad.size} such of {len(ids)}). Look for NaN or infinity there"
            )
        return table

    def _fit(self, table: _Table) -> "FittedRule":
        model = self._model(table.features[table.answered], table.target[table.answered])
        return FittedRule(self, model, frozenset(table.keys.tolist()))

    def _model(self, x: np.ndarray, y: np.ndarray) -> Layers | Any:
        """An estimator of the gains (n,) of n answers from their features (n, d)."""
        if len(y) < LEAST:
            raise CatKerasError(
                f"A learned rule is fitted to at least {LEAST} answers; received {len(y)}. "
                "Calibrate on more examples, or use a rule that is not learned"
            )
        return ESTIMATORS[self.estimator](x, y)


@dataclass(frozen=True, eq=False)
class FittedRule(Rule):
    """A learned rule after its fit; `LearnedRule.fit` makes it.

    Attributes:
        rule: the rule before the fit. model: layers of weights and biases, or a scikit-learn estimator.
        fitted_on: digests of the (task, id) it was fitted on, which it refuses to score.
    """

    rule: LearnedRule
    model: Layers | Any
    fitted_on: frozenset[str]

    @property
    def name(self):
        return self.rule.name

    @property
    def needs(self):
        return self.rule.needs

    def score(self, columns):
        ids = list(columns["id"])
        keys = _keys(columns["task"], ids)
        return self._score(_Table(keys, *features(columns, self.rule.embedding), target=np.zeros(len(ids))))

    def _score(self, table: _Table) -> np.ndarray:
        _refuse(self.fitted_on, table.keys)
        scores = np.full(len(table.keys), NO_ANSWER)
        if table.answered.any():
            scores[table.answered] = -predicted(self.model, table.features[table.answered])
        return scores

    def config(self) -> dict:
        """As `Rule.config`, with the weights and the digests of the examples it was fitted on.

        Raises:
            CatKerasError: its estimator cannot be written as plain numbers.
        """
        if not isinstance(self.model, tuple):
            raise CatKerasError(f"{self.name!r} cannot be stored, as its trees are no plain numbers. Use ridge or mlp")
        layers = [{"weights": weights.tolist(), "bias": bias.tolist()} for weights, bias in self.model]
        return self.rule.config() | {"layers": layers, "fitted_on": sorted(self.fitted_on)}


def from_config(config: Mapping) -> LearnedRule | FittedRule:
    """The learned rule, fitted or not, that `config` described; see `deferral.from_config`.

    Raises:
        CatKerasError: an argument is missing.
    """
    missing = [field.name for field in fields(LearnedRule) if field.name not in config]
    if missing:
        raise CatKerasError(
            f"A stored learned rule has all its arguments; {', '.join(missing)} missing. Store it again"
        )
    rule = LearnedRule(**{field.name: config[field.name] for field in fields(LearnedRule)})
    if "layers" not in config:
        return rule
    layers = tuple((np.array(layer["weights"]), np.array(layer["bias"])) for layer in config["layers"])
    return FittedRule(rule, layers, frozenset(config["fitted_on"]))


def named(name: str) -> LearnedRule:
    """The learned rule, not yet fitted, of a name such as `learned-diff-01-mlp-embedding`."""
    arguments = itertools.product(TARGETS, ESTIMATORS, (False, True))
    rules = {rule.name: rule for rule in itertools.starmap(LearnedRule, arguments)}
    if name not in rules:
        raise unknown_name("deferral rule", name, rules)
    return rules[name]


def cross_fitted(rule: LearnedRule, predictions: Columns, folds: int = 5, seed: int = 0, by: str = "id") -> np.ndarray:
    """Scores of a learned rule on the examples it learns from, each by a model that never saw that example.

    From the scores of every model, its mean over the examples it was fitted on is removed, and the mean gain of all
    examples is put in its place. Otherwise a fold with large gains would tend to be deferred last, as its model is
    fitted to the other folds, whose mean gain is smaller.

    Args:
        rule: to be fitted, once per fold. predictions: as `LearnedRule.fit` reads them, n rows.
        folds: number of folds. An example's fold is a hash of (seed, task, id) alone, so that methods, seeds and
            subsets share folds.
        by: the column that is hashed in place of `id` where several rows belong together, such as questions on one
            text; all rows of one value are in one fold.

    Returns:
        (n,) float64, higher = keep.

    Raises:
        CatKerasError: as `fit`, or fewer than two folds.
    """
    return CrossFit(predictions, folds, seed, by).scores(rule)


class CrossFit:
    """Examples split into folds, on which any number of learned rules are cross-fitted; see `cross_fitted`.

    The rules share the features of the answers, which are most of the work.
    """

    def __init__(self, predictions: Columns, folds: int = 5, seed: int = 0, by: str = "id"):
        check_number("folds", folds, "[2, 1000000]", whole=True)
        check_number("seed", seed, "[-1e+18, 1e+18]", whole=True)
        self._source, self._folds, self._seed, self._by = columns(predictions), folds, seed, by
        self._inputs: dict[bool, tuple] = {}
        self._splits: dict[bool, list[_Split]] = {}

    def scores(self, rule: LearnedRule) -> np.ndarray:
        """Scores of the rule, (n,) float64; errors are those of `cross_fitted`."""
        table = rule._table(self._source, self._inputs)
        scores = np.full(len(table.keys), NO_ANSWER)
        if rule.embedding not in self._splits:
            self._splits[rule.embedding] = self._split(table)
        for split in self._splits[rule.embedding]:
            model = rule._model(split.known, table.target[split.train])
            scores[split.test] = predicted(model, split.known).mean() - predicted(model, split.asked)
        scores[table.answered] -= table.target[table.answered].mean() if table.answered.any() else 0
        return scores

    def _split(self, table: _Table) -> list["_Split"]:
        """The answers outside and inside of every fold, with their features."""
        by = _keys(self._source["task"], self._source[self._by], self._seed)
        fold_of, splits = np.array([int(key, 16) % self._folds for key in by], dtype=np.int64), []
        for fold in np.unique(fold_of):
            train, test = (np.flatnonzero(of_fold & table.answered) for of_fold in (fold_of != fold, fold_of == fold))
            _refuse(frozenset(table.keys[train].tolist()), table.keys[test])
            splits.append(_Split(train, test, table.features[train], table.features[test]))
        return splits


class _Split(NamedTuple):
    """A fold: places of the answers outside, which are fitted to, and inside, which are scored; features of both."""

    train: np.ndarray
    test: np.ndarray
    known: np.ndarray
    asked: np.ndarray


def _refuse(fitted_on: frozenset[str], keys: np.ndarray):
    """Raises CatKerasError if examples that are to be scored are among those that a rule was fitted on."""
    if fitted := fitted_on.intersection(keys.tolist()):
        raise CatKerasError(
            f"A learned rule scores examples that it was not fitted on; {len(fitted)} of {len(keys)} it was "
            "fitted on. Split the data by id, or use cross_fitted"
        )


def _keys(tasks: Sequence[str], ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """(n,) str: digests of (seed, task, id) in hex digits."""
    return np.array([digest.hex() for digest in digests(seed, tasks, ids)], dtype=object)
