"""Rules that read what an answer came with: a confidence in [0, 1] that was measured, stated or counted elsewhere.

They stand beside `RULES`, not in them: a report compares them only where answers have such a column.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import Rule
from cat_keras.errors import CatKerasError


@dataclass(frozen=True)
class GivenConfidence(Rule):
    """The column itself is the score; every number of it lies in [0, 1].

    Args:
        column: "confidence", a probability of the answer, such as the largest softmax probability;
            "stated_confidence", what the model said when it was asked how sure it is (arXiv 2305.14975);
            "p_true", P(True): the probability that it gives to "true" when it is shown its own answer
            (arXiv 2207.05221); "agreement", the share of several sampled answers that say the same, see `agreement`.
    """

    column: str
    computed = False

    @property
    def name(self):
        return self.column.replace("_", "-")

    @property
    def needs(self):
        return (self.column,)

    def score(self, columns):
        values = np.asarray(columns[self.column], dtype=np.float64)
        bad = np.flatnonzero((values < 0) | (values > 1))
        if bad.size:
            raise CatKerasError(
                f"A {self.column} lies in [0, 1]; example {list(columns['id'])[bad[0]]!r} has {values[bad[0]]} "
                f"({bad.size} such of {len(values)}). Divide percentages by 100; take the exponential of a "
                "log-probability"
            )
        return values


GIVEN: dict[str, GivenConfidence] = {
    rule.name: rule for rule in map(GivenConfidence, ("confidence", "stated_confidence", "p_true", "agreement"))
}
"""The rules of this module by name."""


def agreement(samples: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """What several sampled answers to one query agree on: self-consistency, arXiv 2203.11171.

    Args:
        samples: per query the answers, at least one; equal texts are one answer, so normalise them before.

    Returns:
        per query the most frequent answer, of equally frequent ones the first, and (n,) float64 in (0, 1], the share of
        the samples that say it.

    Raises:
        CatKerasError: a query without an answer.

    >>> agreement([["4", "5", "4"], ["A", "B"]])
    (['4', 'A'], array([0.66666667, 0.5       ]))
    """
    empty = [row for row, answers in enumerate(samples) if not len(answers)]
    if empty:
        raise CatKerasError(f"Agreement is of at least one answer; row {empty[0]} has none. Leave the query out")
    counted = [Counter(answers).most_common(1)[0] for answers in samples]
    shares = [count / len(answers) for (_, count), answers in zip(counted, samples, strict=True)]
    return [answer for answer, _ in counted], np.array(shares)
