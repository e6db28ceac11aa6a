"""Rules that say which queries to reject: the plug-in rule, and the scores it is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cat_keras.cascades.deferral import MaxProbability, Rule, row_lengths
from cat_keras.cascades.deferral.calibrated import platt, probability
from cat_keras.cascades.deferral.options import compared, softmax
from cat_keras.cascades.deferral.rule import columns, reading, reduce_rows, row_means
from cat_keras.cascades.rejection.density import DensityRatio, Mahalanobis, check, embeddings
from cat_keras.errors import SHARE, CatKerasError, check_number, unknown_name
from cat_keras.evaluation.rejection import C_FN, plugin_score

ANSWER = ("task", "token_logprobs", "option_logprobs")
Columns = Mapping[str, Sequence]


def confidence(table: Columns) -> np.ndarray:
    """(n,) in [0, 1]: probability of the chosen option, or geometric mean of those of a generated answer's tokens."""
    options = reduce_rows(compared(table), lambda v, s, n: MaxProbability.reduce(softmax(v, s, n), s, n), 0.0)
    tokens = np.exp(reduce_rows(table["token_logprobs"], row_means, -np.inf))
    return np.clip(np.where(row_lengths(table["option_logprobs"]) > 0, options, tokens), 0, 1)


def energy(table: Columns) -> np.ndarray:
    """(n,): minus the free energy, `log Σ_o exp(log p(o))` over the options. arXiv 2010.03759 at temperature 1.

    Of a generated answer its log-probability, the only term of that sum that is known (ours).
    """

    def log_sums(values, starts, lengths):
        top = np.maximum.reduceat(values, starts)
        return top + np.log(np.add.reduceat(np.exp(values - np.repeat(top, lengths)), starts))

    options = reduce_rows(compared(table), log_sums, 0.0)
    tokens = reduce_rows(table["token_logprobs"], lambda v, s, n: np.add.reduceat(v, s), -1e9)
    return np.where(row_lengths(table["option_logprobs"]) > 0, options, tokens)


class Rejector(Rule):
    """A rule that rejects: fitted on answers to calibration inputs and, where it reads it, to unlabelled traffic."""

    @property
    def needs(self):
        return (*ANSWER, "embedding")

    def score(self, columns):
        raise CatKerasError(f"{self.name!r} scores after it was fitted. Received: a rule that was not. Call fit first")


@dataclass(frozen=True)
class PluginOOD(Rejector):
    """The plug-in rule of arXiv 2301.12386: `evaluation.rejection.plugin_score` of P(right) and a density ratio.

    Args:
        c_fn: weight of keeping what comes from elsewhere, in [0, 1].
        inside: share of the traffic that does not come from elsewhere, in (0, 1); None to estimate it.
        distance: whether the classifier of the density ratio reads, beside the hidden state, its Mahalanobis distance
            from the calibration inputs and the log-odds of the confidence (ours); a linear classifier of the state
            alone cannot say "far away in any direction".
    """

    c_fn: float = C_FN
    inside: float | None = None
    distance: bool = True

    def __post_init__(self):
        check_number("c_fn", self.c_fn, SHARE)
        if self.inside is not None:
            check_number("inside", self.inside, "(0, 1)")

    @property
    def name(self):
        return "plugin-ood" if self.distance else "plugin-ood-linear"

    def fit(self, predictions: Columns, traffic: Columns) -> "FittedPlugin":
        """The rule fitted to the small model's answers.

        Args:
            predictions: to n calibration inputs, with `embedding`. With a column `quality_small` in [0, 1] confidences
                become probabilities of being right, by Platt's logistic curve; else they are taken as they are.
            traffic: to m unlabelled queries as they arrive, with `embedding`.

        Raises:
            CatKerasError: a column is missing, or as `DensityRatio.fit`.
        """
        own, mixed = columns(predictions), columns(traffic)
        with reading(self):
            for table in (own, mixed):
                self._checked_ids(table)
            states, others = embeddings(own), embeddings(mixed)
            check(states, others)
            distance, apart = None, None
            if self.distance:
                distance, apart = Mahalanobis.fit(states, own["task"]), Mahalanobis.apart(states, own["task"])
            features = _features(own, states, apart), _features(mixed, others, distance and distance(others))
            ratio, ratios = DensityRatio.fit(*map(np.column_stack, features), self.inside)
            curve = None
            if "quality_small" in own:
                curve = platt(confidence(own), np.asarray(own["quality_small"], np.float64))
        fitted = FittedPlugin(self, ratio, distance, curve)
        return replace(fitted, traffic_scores=fitted.of(mixed, ratios))


def _features(table: Columns, states: np.ndarray, distances: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """What the density ratio is of: hidden states, and in a second block distances and log-odds of the confidence."""
    if distances is None:
        return (states,)
    right = np.clip(confidence(table), 1e-6, 1 - 1e-6)
    return states, np.column_stack([np.sqrt(distances), np.log(right / (1 - right))])


@dataclass(frozen=True, eq=False)
class FittedPlugin(Rejector):
    """The plug-in rule at work.

    Attributes:
        rule: what was fitted. ratio: of densities. distance: from the calibration inputs, None where it is not read.
        curve: from confidence to P(right), None for none.
        traffic_scores: (m,) of the traffic it was fitted on, each by classifiers that did not see that query; None
            after loading.
    """

    rule: PluginOOD
    ratio: DensityRatio
    distance: Mahalanobis | None
    curve: Mapping[str, float] | None
    traffic_scores: np.ndarray | None = None

    @property
    def name(self):
        return self.rule.name

    def score(self, columns):
        width = self.distance.means.shape[1] if self.distance else len(self.ratio.weights)
        states = embeddings(columns, width)
        features = _features(columns, states, self.distance and self.distance(states))
        return self.of(columns, self.ratio(*features))

    def of(self, columns: Columns, ratios: np.ndarray) -> np.ndarray:
        """Scores of answers whose density ratios are known, (n,)."""
        right = confidence(columns)
        right = right if self.curve is None else probability(self.curve, right)
        return plugin_score(right, ratios, self.rule.c_fn, self.ratio.inside)

    def config(self) -> dict:
        """What `from_config` makes the same rule from, in JSON values."""
        ratio = {"weights": self.ratio.weights.tolist(), "bias": self.ratio.bias, "inside": self.ratio.inside}
        distance = self.distance and {
            "means": self.distance.means.tolist(),
            "whitening": self.distance.whitening.tolist(),
        }
        return self.rule.config() | {
            "ratio": ratio,
            "distance_from": distance,
            "curve": self.curve and dict(self.curve),
        }


def from_config(config: Mapping) -> FittedPlugin:
    """The rule that `FittedPlugin.config` described."""
    ratio, distance = config["ratio"], config["distance_from"]
    density = DensityRatio(np.array(ratio["weights"], np.float64), float(ratio["bias"]), float(ratio["inside"]))
    if distance is not None:
        distance = Mahalanobis(*(np.array(distance[name], np.float64) for name in ("means", "whitening")))
    rule = PluginOOD(config["c_fn"], config["inside"], config["distance"])
    return FittedPlugin(rule, density, distance, config["curve"])


@dataclass(frozen=True, eq=False)
class Baseline(Rejector):
    """A score that needs no traffic; `fit` returns itself with what it needs of the calibration inputs.

    Args:
        name: for tables. compute: (columns, what `fit` noted) → (n,).
    """

    name: str
    compute: Callable[[Columns, tuple | None], np.ndarray]
    noted: tuple | None = None

    def fit(self, predictions: Columns, traffic: Columns | None = None) -> "Baseline":
        """With the Mahalanobis distance from the calibration inputs, and mean and deviation of its negative root."""
        own = columns(predictions)
        states = embeddings(own)
        distance = Mahalanobis.fit(states, own["task"])
        known = -np.sqrt(distance(states))
        return Baseline(self.name, self.compute, (distance, known.mean(), known.std() or 1.0))

    def score(self, columns):
        if self.noted is None:
            return super().score(columns)
        return self.compute(columns, self.noted)


def _distance(table: Columns, noted: tuple) -> np.ndarray:
    distance = noted[0]
    return -distance(embeddings(table, distance.means.shape[1]))


def _sirc(table: Columns, noted: tuple) -> np.ndarray:
    """`−(1 − S₁)(1 + exp(−b (S₂ − a)))`, a = μ − 3σ and b = 1/σ of S₂ on calibration inputs. arXiv 2207.07506.

    S₁ is the confidence, S₂ minus the Mahalanobis distance (their paper takes norms and residuals of features).
    """
    _, mean, deviation = noted
    second = -np.sqrt(-_distance(table, noted))
    return -(1 - confidence(table)) * (1 + np.exp(np.clip((mean - 3 * deviation - second) / deviation, -50, 50)))


RULES: dict[str, PluginOOD | Baseline] = {
    rule.name: rule
    for rule in (
        PluginOOD(),
        PluginOOD(distance=False),
        Baseline("max-probability", lambda table, noted: confidence(table)),
        Baseline("energy", lambda table, noted: energy(table)),
        Baseline("mahalanobis", _distance),
        Baseline("sirc", _sirc),
    )
}
"""Every rule that rejects, by name; all but the first are there to be compared with it."""


def get(name: str) -> PluginOOD | Baseline:
    """The rule that rejects of that name, still to be fitted."""
    if name not in RULES:
        raise unknown_name("rule that rejects", str(name), RULES)
    return RULES[name]
