"""Rules that read the token by which a small model asks for help, of models trained with `losses.DeferToken`.

They stand beside `RULES`, not in them: a report compares them only for the methods whose answers have such a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import NO_ANSWER, Rule, row_lengths
from cat_keras.cascades.deferral.tokens import ChowSum
from cat_keras.errors import CatKerasError


@dataclass(frozen=True)
class DeferToken(Rule):
    """`−log p(⊥)` (nats), ⊥ the defer token at the first token of the answer: who asks most for help is deferred first.

    It is for `losses.DeferToken(helps="gain")`, where p(⊥) grows with the probability that the large model is right and
    the small one was wrong. That it is the score by itself is our choice.
    """

    name = "defer-token"
    needs = ("defer_logprob",)

    def score(self, columns):
        return -logprobs(columns)


@dataclass(frozen=True)
class DeferMargin(Rule):
    """`Σ l_i − log(p(⊥) / (1 − p(⊥)))` (nats), the answer's log-probability against the log-odds of the defer token ⊥.

    It is for `losses.DeferToken(helps="right")`. The answer is then kept where its score is at least 0, by the rule of
    learning to defer, arXiv 2006.01862: defer where ⊥ is more probable than the most probable class. There the answer
    is a class; that a whole answer takes its place is our choice. An empty answer scores `NO_ANSWER`.
    """

    name = "defer-margin"
    needs = ("defer_logprob", "token_logprobs")

    def score(self, columns):
        asks = np.minimum(logprobs(columns), -1e-9)  # p = 1 would have infinite odds
        odds = asks - np.log(-np.expm1(asks))
        margin = ChowSum().score(columns) - odds
        return np.where(row_lengths(columns["token_logprobs"]) > 0, margin, NO_ANSWER)


def logprobs(columns: Mapping[str, Sequence]) -> np.ndarray:
    """The column `defer_logprob`, (n,) float64.

    Raises:
        CatKerasError: an answer of a model without a defer token.
    """
    values = np.asarray(columns["defer_logprob"], dtype=np.float64)
    if (missing := np.flatnonzero(np.isnan(values))).size:
        raise CatKerasError(
            "This rule reads how probable the token that asks for help was. Received: no such number for example "
            f"{list(columns['id'])[missing[0]]!r} ({missing.size} such of {len(values)}). Train the model with the "
            'objective "defer-token", and predict with measures=["defer"]'
        )
    return values


ASKING: dict[str, Rule] = {rule.name: rule for rule in (DeferToken(), DeferMargin())}
"""The rules of this module by name."""
