"""Deferral rules: one score per prediction of the small model, higher = keep. A cascade defers iff `score < threshold`.

A rule reads *columns*: a mapping from column name to one entry per prediction, which is what a Parquet file gives
(`{"id": ..., "task": ..., "token_logprobs": [array, ...], "option_logprobs": [...]}`, a dict or a pandas DataFrame).
`columns` makes it from a list of `Prediction`. A rule of one's own takes a few lines, and `RULES` then holds it:

    class ShortestFirst(Rule):
        name = "shortest-first"
        needs = ("token_logprobs",)

        def score(self, columns):
            return -row_lengths(columns["token_logprobs"])

    register(ShortestFirst())
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import ClassVar

import numpy as np

from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.ragged import Ragged
from cat_keras.records import Prediction

NO_ANSWER = float(np.finfo(np.float64).min)
"""Score of an empty answer under the token rules: below every other score, so it is deferred first.

The empty sum would be 0, the log-probability of certainty, and the cascade would keep exactly the queries that the
small model said nothing to (an answer that only ends at once is not empty: its end-of-sequence token counts). Finite,
so that it survives JSON and the curves, which refuse infinities. [U]
"""


def columns(predictions: Iterable[Prediction] | Mapping[str, Sequence], **extra: Sequence) -> Mapping[str, Sequence]:
    """The column mapping that rules read.

    Args:
        predictions: `Prediction` records, or a mapping of columns (a DataFrame too), which is passed on as it is.
        **extra: further columns, e.g. `quality_small` and `quality_large` for `Oracle`.

    Returns:
        column name → sequence with one entry per prediction, in the order given.
    """
    if not hasattr(predictions, "keys"):
        predictions = list(predictions)
        names = [field.name for field in fields(Prediction)]
        predictions = {name: list(map(attrgetter(name), predictions)) for name in names}
    return {**predictions, **extra} if extra else predictions


class Rule(ABC):
    """A deferral rule. Subclasses set `name` and `needs` and write `score`; calling the rule checks what it returns.

    Attributes:
        name: what `get` finds it by and what reports call it.
        needs: the columns that `score` reads.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    @abstractmethod
    def score(self, columns: Mapping[str, Sequence]) -> np.ndarray:
        """One score per row of `columns`, shape (n,); higher = keep."""

    def __call__(self, predictions: Iterable[Prediction] | Mapping[str, Sequence]) -> np.ndarray:
        """Scores of the predictions.

        Args:
            predictions: `Prediction` records or a mapping of columns that has `id` and all of `needs`.

        Returns:
            (n,) float64, finite, higher = keep.

        Raises:
            CatKerasError: a column is missing or of another length, or a score is NaN or infinite (the message names
                the rule and the example).
        """
        table = columns(predictions)
        ids = self._ids(table)
        scores = np.asarray(self.score(table), dtype=np.float64)
        if scores.shape != (len(ids),):
            raise CatKerasError(
                f"Deferral rule {self.name!r} must return one score per prediction, shape ({len(ids)},); "
                f"received shape {scores.shape}. Mend its `score`"
            )
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            raise CatKerasError(
                f"A deferral score must be finite; rule {self.name!r} gave {scores[bad[0]]} for example "
                f"{ids[bad[0]]!r} ({bad.size} such of {len(ids)}). Look for NaN or infinite log-probabilities there"
            )
        return scores

    def _ids(self, table: Mapping[str, Sequence]) -> list:
        needs = ("id", *self.needs)
        missing = [name for name in needs if name not in table]
        if missing:
            raise CatKerasError(
                f"Deferral rule {self.name!r} reads the columns {', '.join(needs)}; missing: {', '.join(missing)}. "
                "Add them, e.g. columns(predictions, quality_small=..., quality_large=...)"
            )
        lengths = {name: len(table[name]) for name in needs}
        if len(set(lengths.values())) > 1:
            raise CatKerasError(
                f"Columns must be equally long; received {lengths}. Take all of them from the same rows"
            )
        return list(table["id"])


def row_lengths(column: Sequence[Sequence[float]]) -> np.ndarray:
    """Number of entries in each row of a ragged column, shape (n,), int64.

    Raises:
        CatKerasError: a row is not a list of numbers (a null of a Parquet file, say).
    """
    if isinstance(column, Ragged):
        return column.lengths
    try:
        return np.fromiter(map(len, column), dtype=np.int64, count=len(column))
    except TypeError as error:
        row = next(i for i, entry in enumerate(column) if not hasattr(entry, "__len__"))
        raise CatKerasError(
            f"Every row must be a list of log-probabilities; row {row} is not one ({error}). "
            "Write an empty list where there are none"
        ) from None


def flatten(column: Sequence[Sequence[float]]) -> np.ndarray:
    """All entries of a ragged column, row after row, shape (sum of `row_lengths`,), float64."""
    if isinstance(column, Ragged):
        return column.values.astype(np.float64)
    rows = list(column)
    if any(isinstance(row, np.ndarray) for row in rows):  # iterating arrays would box every number
        return np.concatenate(rows).astype(np.float64)
    return np.fromiter(chain.from_iterable(rows), dtype=np.float64)


def _reduce_rows(column: Sequence[Sequence[float]], reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """`reduce(values, starts, lengths)` over the rows that hold something, `NO_ANSWER` for those that do not.

    `ufunc.reduceat` has no empty segments; leaving out empty rows moves no start, because they hold no value.
    """
    lengths = row_lengths(column)
    scores = np.full(len(lengths), NO_ANSWER)
    full = lengths > 0
    if full.any():
        starts = (np.cumsum(lengths) - lengths)[full]
        scores[full] = reduce(flatten(column), starts, lengths[full])
    return scores


@dataclass(frozen=True)
class ChowSum(Rule):
    """`Σ l_i`, the log-probability of the whole answer (nats); favours short answers. arXiv 2404.10136.

    An empty answer scores `NO_ANSWER`.
    """

    name = "chow-sum"
    needs = ("token_logprobs",)

    def score(self, columns):
        return _reduce_rows(columns["token_logprobs"], lambda values, starts, _: np.add.reduceat(values, starts))


@dataclass(frozen=True)
class ChowAverage(Rule):
    """`Σ l_i / n`, the mean token log-probability (nats per token). arXiv 2404.10136; CAT's default [S].

    An empty answer scores `NO_ANSWER`.
    """

    name = "chow-average"
    needs = ("token_logprobs",)

    def score(self, columns):
        return _reduce_rows(columns["token_logprobs"], lambda values, starts, n: np.add.reduceat(values, starts) / n)


@dataclass(frozen=True)
class ChowQuantile(Rule):
    """The α-quantile of `{l_i}` (nats): how sure the small model was of its least sure tokens. arXiv 2404.10136.

    An empty answer scores `NO_ANSWER`. The quantile interpolates linearly between order statistics, as `numpy.quantile`
    does by default [U].

    Args:
        alpha: in [0, 1]; 0 is the minimum, 1 the maximum.
    """

    alpha: float
    needs = ("token_logprobs",)

    def __post_init__(self):
        if not 0 <= self.alpha <= 1:
            raise CatKerasError(f"The alpha of chow-quantile must be in [0, 1]; received {self.alpha}. Try 0.1")

    @property
    def name(self):
        return f"chow-quantile-{self.alpha:.15g}"

    def score(self, columns):
        return _reduce_rows(columns["token_logprobs"], self._quantiles)

    def _quantiles(self, values, starts, lengths):
        if self.alpha == 0:
            return np.minimum.reduceat(values, starts)
        quantiles = np.empty(len(starts))
        # Rows of one length form a matrix: one vectorised quantile per distinct length, and no padding.
        by_length = np.argsort(lengths, kind="stable")
        distinct, first = np.unique(lengths[by_length], return_index=True)
        for length, rows in zip(distinct, np.split(by_length, first[1:]), strict=True):
            matrix = values[starts[rows, None] + np.arange(length)]
            with np.errstate(invalid="ignore"):  # infinities interpolate to NaN, which `Rule.__call__` reports
                quantiles[rows] = np.quantile(matrix, self.alpha, axis=1)
        return quantiles


@dataclass(frozen=True)
class MaxProbability(Rule):
    """`max softmax(option_logprobs)`, in (0, 1]: the share that the chosen option takes of all options' likelihood.

    For classification only; a row without options raises. Gaps beyond 36 nats all round to 1 and become ties.
    """

    name = "max-probability"
    needs = ("option_logprobs",)

    def score(self, columns):
        lengths = row_lengths(columns["option_logprobs"])
        if not lengths.all():
            example = list(columns["id"])[int(np.argmin(lengths))]
            raise CatKerasError(
                f"max-probability needs the log-likelihood of every option; example {example!r} has none. "
                "Use a chow rule for generation"
            )
        return _reduce_rows(columns["option_logprobs"], self._max_softmax)

    @staticmethod
    def _max_softmax(values, starts, lengths):
        top = np.maximum.reduceat(values, starts)
        with np.errstate(invalid="ignore"):  # all options impossible: −inf − −inf, reported by `Rule.__call__`
            return 1 / np.add.reduceat(np.exp(values - np.repeat(top, lengths)), starts)


@dataclass(frozen=True)
class Random(Rule):
    """Uniform in [0, 1): the floor of every plot. A hash of (seed, task, id), so it depends on no order or subset."""

    seed: int = 0
    needs = ("task",)

    @property
    def name(self):
        return f"random-{self.seed}" if self.seed else "random"

    def score(self, columns):
        keys = (f"{self.seed}\x1f{task}\x1f{id}" for task, id in zip(columns["task"], columns["id"], strict=True))
        digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
        # 53 bits are what a float64 in [0, 1) can hold; all 64 could round up to 1.
        return (np.frombuffer(digests, dtype="<u8") >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class Oracle(Rule):
    """`q_small − q_large` per example: the order that no other rule beats.

    A ceiling that no served system can use: it looks at the reference and at an answer of the large model. Reads the
    columns `quality_small` and `quality_large`, see `columns`.
    """

    name = "oracle"
    needs = ("quality_small", "quality_large")

    def score(self, columns):
        return np.subtract(*(np.asarray(columns[name], dtype=np.float64) for name in self.needs))


RULES: dict[str, Rule] = {}
"""Every registered rule by name; what a report loops over."""

_FAMILIES = {"chow-quantile-": (ChowQuantile, float), "random-": (Random, int)}


def register(rule: Rule) -> Rule:
    """Add a rule under its name, and return it.

    Raises:
        CatKerasError: not a `Rule` instance, or the name belongs to a different rule.
    """
    if not isinstance(rule, Rule):
        raise CatKerasError(f"register takes an instance of a Rule subclass; received {rule!r}. Did you forget the ()?")
    if RULES.get(rule.name, rule) != rule:
        raise CatKerasError(f"A rule's name must be unique; {rule.name!r} is {RULES[rule.name]!r}. Choose another name")
    RULES[rule.name] = rule
    return rule


def get(name: str) -> Rule:
    """The rule of that name: one of `RULES`, or `chow-quantile-<alpha>`, `random-<seed>` with any value.

    Raises:
        CatKerasError: no rule has that name, or alpha is outside [0, 1].
    """
    if name in RULES:
        return RULES[name]
    for prefix, (make, cast) in _FAMILIES.items():
        if str(name).startswith(prefix):
            try:
                value = cast(str(name).removeprefix(prefix))
            except ValueError:
                break
            return make(value)
    raise unknown_name("deferral rule", str(name), RULES)


for _rule in (ChowSum(), ChowAverage(), *map(ChowQuantile, (0.0, 0.1, 0.5, 0.9)), MaxProbability(), Random(), Oracle()):
    register(_rule)
