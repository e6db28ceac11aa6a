"""A router: fitted to qualities of both models, it scores prompts, chooses a threshold, and is stored as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cat_keras.cascades.calibration import Calibration, check_limit, on_stages
from cat_keras.cascades.playback import Stages
from cat_keras.cascades.routing import features, logistic
from cat_keras.cascades.routing.labels import best_margin, soft_labels
from cat_keras.cascades.routing.ways import folds
from cat_keras.cascades.tuning import columns
from cat_keras.errors import COUNT, CatKerasError, check_number, unknown_name
from cat_keras.storage import store

LEAST = 10  # fewest prompts that a router is fitted to
FORMAT, VERSION = "cat-keras router", 1


@dataclass(frozen=True)
class Router:
    """A router that `fit` makes usable; its score is P(q_S ≥ q_L − margin), higher = ask the small model.

    Args:
        features: "tfidf", of the prompts' words, or "states", hidden states of the small model, (n, d), as of `states`.
        margin: how much worse the small model may be and still count as good enough; None for the one that spreads the
            labels most, see `best_margin`.
        components: dimensions of the features at most; with few prompts there are fewer.
    """

    features: str = "tfidf"
    margin: float | None = None
    components: int = 64

    def __post_init__(self):
        if self.features not in features.SPACES:
            raise unknown_name("features of a router", self.features, features.SPACES)
        if self.margin is not None:
            check_number("margin", self.margin, "[0, inf)")
        check_number("components", self.components, COUNT, whole=True)

    def fit(self, inputs, quality_small, quality_large) -> "FittedRouter":
        """The router fitted to these queries.

        Args:
            inputs: n prompts, or (n, d) states. quality_small, quality_large: (n,) of single answers, or (n, samples).

        Raises:
            CatKerasError: columns that do not fit together, or fewer than 10 queries.
        """
        inputs = features.checked(self.features, inputs)
        margin, labels = self._labels(quality_small, quality_large, len(inputs))
        space = features.SPACES[self.features].fit(inputs)
        z, basis = features.reduced(space(inputs), self.components)
        weights, bias = logistic.fit(z, labels)
        return FittedRouter(replace(self, margin=margin), space, basis @ weights, bias)

    def _labels(self, quality_small, quality_large, n: int) -> tuple[float, np.ndarray]:
        margin = best_margin(quality_small, quality_large) if self.margin is None else self.margin
        labels = soft_labels(quality_small, quality_large, margin)
        if len(labels) != n or n < LEAST:
            raise CatKerasError(
                f"A router is fitted to at least {LEAST} prompts with a quality each. Received: {n} prompts, "
                f"{len(labels)} qualities"
            )
        return margin, labels


@dataclass(frozen=True, eq=False)
class FittedRouter:
    """A router at work.

    Attributes:
        router: what was fitted, with its margin. space: its features. weights: of each of them. bias: of all.
    """

    router: Router
    space: features.TextSpace | features.StateSpace
    weights: np.ndarray
    bias: float

    def score(self, inputs) -> np.ndarray:
        """(n,) in (0, 1): how likely the small model does as well as the large one, of n prompts, or (n, d) states."""
        x = self.space(features.checked(self.router.features, inputs))
        return logistic.probability(x, self.weights, self.bias)

    def calibrate(
        self,
        inputs,
        quality,
        cost=None,
        *,
        max_cost: float | None = None,
        min_quality: float | None = None,
        max_deferral: float | None = None,
    ) -> Calibration:
        """The threshold on `score` below which a query goes to the large model, from queries it was not fitted to.

        Args:
            inputs: n prompts, or (n, d) states. quality: (2, n) in [0, 1], of the small and the large model.
            cost: (2, n), or a number per model; by default 0 and 1. max_cost, min_quality, max_deferral: one of them,
                as of `ck.tune`; the deferral is the share of queries that the large model gets.

        Returns:
            the choice. Its cost is `(1 − ρ) c_S + ρ c_L`: of a query that goes to the large model, that model's alone.

        Raises:
            CatKerasError: columns that do not fit together, not one limit, or one that no threshold keeps.
        """
        limit = check_limit(None, max_cost=max_cost, min_quality=min_quality, max_deferral=max_deferral)
        stages = columns(self.score(inputs), quality, cost)
        if len(stages.quality) != 2:
            raise CatKerasError(f"A router chooses between two models. Received: qualities of {len(stages.quality)}")
        # A cascade adds up what its stages cost. The second adds here what it costs more than the first.
        small, large = stages.cost
        chosen = on_stages(Stages(stages.scores, stages.quality, np.stack([small, large - small])), limit)
        return replace(chosen, alone_cost=(float(small.mean()), float(large.mean())))

    def config(self) -> dict:
        """In JSON values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "features": self.router.features,
            "margin": self.router.margin,
            "components": self.router.components,
            "space": self.space.config(),
            "weights": self.weights.tolist(),
            "bias": self.bias,
        }

    def write(self, path: Path):
        """Writes it as JSON, whole or not at all; with TF-IDF every term stands beside its weight."""
        store.write_json(Path(path), self.config())

    @classmethod
    def read(cls, path: Path) -> "FittedRouter":
        """The router of a file.

        Raises:
            CatKerasError: it is none, of a newer version, or incomplete.
        """
        config = store.read_json(Path(path))
        if not isinstance(config, Mapping) or config.get("format") != FORMAT or config.get("version") != VERSION:
            raise CatKerasError(f'A router file says "format": "{FORMAT}", "version": {VERSION}. Received: {path}')
        try:
            router = Router(config["features"], config["margin"], config["components"])
            space = features.from_config(router.features, config["space"])
            weights = np.array(config["weights"], dtype=np.float64)
            size = len(space.terms) + 1 if router.features == "tfidf" else len(space.mean)
            if weights.shape != (size,) or not np.isfinite(weights).all():
                raise ValueError(f"{size} weights, one per feature")
            return cls(router, space, weights, float(config["bias"]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CatKerasError):
                raise
            raise CatKerasError(f"A router file has features and weights. Received: {path} ({error!r})") from None


def cross_fitted(
    router: Router, inputs, quality_small, quality_large, task: str = "", units: Sequence | None = None
) -> np.ndarray:
    """Scores of routers on the queries they learn from, each by a router that did not learn from it.

    From the scores of every fit, its mean over the queries it was fitted to is removed, and the mean label of all is
    put in its place, so that a fold with other labels than the rest is not ranked by that.

    Args:
        inputs: n prompts, or (n, d) states. The features are learned from all of them, which needs no label.
        quality_small: (m, n): of m small models, each with a router of its own. quality_large: (n,).
        task, units: as `folds` takes them; by default every query is a unit.

    Returns:
        (m, n) float64, higher = ask the small model.
    """
    inputs = features.checked(router.features, inputs)
    n = len(inputs)
    small, large = np.atleast_2d(np.asarray(quality_small, float)), np.asarray(quality_large, float)
    fold_of = folds(task, range(n) if units is None else units)
    z, _ = features.reduced(features.SPACES[router.features].fit(inputs)(inputs), router.components)
    scores = np.empty((len(small), n))
    for fold in np.unique(fold_of):
        train, test = fold_of != fold, fold_of == fold
        for row, quality in zip(scores, small, strict=True):
            _, labels = router._labels(quality[train], large[train], int(train.sum()))
            weights, bias = logistic.fit(z[train], labels)
            row[test] = logistic.probability(z[test], weights, bias) - labels.mean()
    means = [router._labels(quality, large, n)[1].mean() for quality in small]
    return scores + np.array(means)[:, None]
