"""The third outcome of a cascade: what of its first model's answers is neither kept nor deferred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades import deferral
from cat_keras.cascades.playback import threshold
from cat_keras.cascades.rejection.rule import FittedPlugin, PluginOOD, from_config, get
from cat_keras.data import overlap
from cat_keras.data.records import Example, Prediction
from cat_keras.errors import CatKerasError, check_list, check_number
from cat_keras.evaluation.grid import on_grid

BUDGET = "(0, 1)"


@dataclass(frozen=True, eq=False)
class Rejection:
    """Which queries a cascade rejects.

    Attributes:
        rule: of the first model's answers. threshold: a query is rejected iff its score is below it.
        budget: share of the traffic that may be rejected. rejected: share of the traffic that is, by scores of rules
            that did not see the query.
    """

    rule: FittedPlugin
    threshold: float
    budget: float
    rejected: float

    def __call__(self, predictions: Sequence[Prediction]) -> np.ndarray:
        """(n,) bool, which queries are rejected."""
        return self.rule.compared(predictions) < self.threshold

    def config(self) -> dict:
        """What `load` makes the same from, in JSON values."""
        facts = {"threshold": str(self.threshold), "budget": self.budget, "rejected": self.rejected}
        return {"rule": self.rule.config(), **facts}

    @classmethod
    def load(cls, config: Mapping) -> "Rejection":
        """What `config` described."""
        numbers = (float(config[name]) for name in ("threshold", "budget", "rejected"))
        return cls(from_config(config["rule"]), *numbers)

    @classmethod
    def fit(cls, rule: PluginOOD, own: Sequence[Prediction], quality: np.ndarray, traffic: Sequence[Prediction],
            budget: float) -> "Rejection":  # fmt: skip
        """Fits the rule, and sets the threshold so that at most the budget of the traffic is rejected.

        Args:
            own: the first model's answers to n calibration inputs. quality: (n,) of the answers that the whole cascade
                gives to them: what a larger model puts right need not be rejected. NaN where it is unknown.
            traffic: the first model's answers to unlabelled queries.
        """
        extra = {} if np.isnan(quality).any() else {"quality_small": quality}
        fitted = rule.fit(deferral.columns(own, **extra), deferral.columns(traffic))
        scores = on_grid(fitted.traffic_scores)
        limit = threshold(scores, budget)
        return cls(fitted, limit, budget, float(np.mean(scores < limit)))


def check_request(reject, traffic, rejector, guarantee, examples: Sequence[Example]):
    """The rule, and the traffic as examples, of what `Cascade.calibrate` is asked; None where it is not to reject.

    Raises:
        CatKerasError: a budget out of range or none, no traffic, traffic that is the calibration again, a rule that is
            no `PluginOOD`, a guarantee besides.
    """
    if reject is None:
        if traffic is not None:
            raise CatKerasError(
                "Traffic tells what to reject. Received: traffic= without reject=. Give reject=0.1, say"
            )
        return None
    check_number("reject", reject, BUDGET, remedy="It is the share of the traffic that may be rejected")
    rule = get(rejector) if isinstance(rejector, str) else rejector
    if not isinstance(rule, PluginOOD):
        raise CatKerasError(f"A cascade rejects by plugin-ood or a PluginOOD. Received: {rejector!r}")
    if guarantee is not None:
        raise CatKerasError(
            "A guarantee is of all queries, and rejected ones have no answer. Received: reject= with guarantee=. "
            "Give one of them"
        )
    if traffic is None or not len(traffic := check_list("queries of the traffic", traffic)):
        raise CatKerasError(
            "Rejecting learns from unlabelled queries as they arrive. Received: no traffic. Give traffic=, a list of "
            "prompts or examples"
        )
    queries = [_query(i, each, examples) for i, each in enumerate(traffic)]
    own = {overlap.content(e) for e in examples}
    if all(overlap.content(query) in own for query in queries):
        raise CatKerasError(
            "The traffic holds other queries than the calibration. Received: calibration examples alone, which show "
            "nothing of what comes from elsewhere. Give queries as they arrive"
        )
    return rule, queries


def _query(place: int, query, examples: Sequence[Example]) -> Example:
    """A query of the traffic as an example; a text has the options that all calibration examples share."""
    if isinstance(query, Example):
        return query
    options = {e.options for e in examples}
    if not isinstance(query, str) or len(options) != 1:
        raise CatKerasError(
            "Traffic is a list of examples, or of prompts where all calibration examples have the same options. "
            f"Received: {type(query).__name__} at place {place}, and {len(options)} sets of options"
        )
    return Example(f"traffic-{place}", query, "", examples[0].task, options.pop())
