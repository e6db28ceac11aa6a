"""The base class of deferral rules, and the columns they read, some of which have a list of numbers in each row."""

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import ClassVar

import numpy as np

from cat_keras.data.ragged import Ragged
from cat_keras.data.records import Prediction
from cat_keras.errors import CatKerasError, check_list
from cat_keras.evaluation.grid import on_grid

NO_ANSWER = float(np.finfo(np.float64).min)
"""Score of an empty answer under the token rules: below every other score, so that it is deferred first.

The sum over no tokens would be 0, the log-probability of certainty, and the cascade would keep exactly the queries to
which the small model gave no answer. (An answer that ends at once is not empty, as its end-of-sequence token counts.)
The score is finite because JSON and the curves refuse infinities. [U]
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
        predictions = check_list("predictions", predictions)
        names = [field.name for field in fields(Prediction)]
        predictions = {name: list(map(attrgetter(name), predictions)) for name in names}
    return {**predictions, **extra} if extra else predictions


class Rule(ABC):
    """A deferral rule. Subclasses set `name` and `needs` and define `score`; calling the rule checks what it returns.

    Attributes:
        name: under which `get` finds it and reports list it.
        needs: the columns that `score` reads.
        needs_fit: whether it must be fitted before it scores, see `deferral.learned`.
        computed: whether scores follow from a model's own numbers, whose last digits differ with the batch; `compared`
            then rounds them. False for numbers that somebody wrote down.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    needs_fit: ClassVar[bool] = False
    computed: ClassVar[bool] = True

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
        with reading(self):
            ids = self._checked_ids(table)
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

    def compared(self, predictions: Iterable[Prediction] | Mapping[str, Sequence]) -> np.ndarray:
        """Scores as they are compared with each other and with thresholds: on the grid of `evaluation.grid`.

        Arguments and errors are those of calling the rule.
        """
        scores = self(predictions)
        return on_grid(scores) if self.computed else scores

    def config(self) -> dict:
        """What `from_config` makes the same rule from, in JSON values: its name and a dataclass's arguments."""
        return {"name": self.name} | (asdict(self) if is_dataclass(self) else {})

    def _checked_ids(self, table: Mapping[str, Sequence], further: tuple[str, ...] = ()) -> list:
        """The ids of a table; checks that all columns of `needs` and `further` are there and equally long."""
        needs = ("id", *self.needs, *further)
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


@contextlib.contextmanager
def reading(rule: Rule):
    """Turns numpy's errors about entries that are not numbers into ours; callers check that results are finite."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    except CatKerasError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CatKerasError(
            f"Deferral rule {rule.name!r} reads numbers, and lists of them where there are many; received others "
            f"({error}). Look for texts, nulls and lists in lists in {', '.join(rule.needs)}"
        ) from error


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


def reduce_rows(
    column: Sequence[Sequence[float]],
    reduce: Callable[..., np.ndarray],
    empty: float = NO_ANSWER,
    shape: tuple[int, ...] = (),
) -> np.ndarray:
    """`reduce(values, starts, lengths)` of the rows that are not empty, and `empty` for those that are.

    `ufunc.reduceat` cannot reduce empty segments. Leaving empty rows out does not move the starts of the others, as
    empty rows hold no values.

    Args:
        column: n rows. reduce: gives (rows that are not empty, *shape).

    Returns:
        (n, *shape) float64.
    """
    lengths = row_lengths(column)
    reduced = np.full((len(lengths), *shape), empty)
    filled = lengths > 0
    if filled.any():
        starts = (np.cumsum(lengths) - lengths)[filled]
        reduced[filled] = reduce(flatten(column), starts, lengths[filled])
    return reduced


def row_means(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Mean of each row, for `reduce_rows`."""
    return np.add.reduceat(values, starts) / lengths


def digests(seed: int, tasks: Sequence[str], ids: Sequence[str]) -> list[bytes]:
    """Eight bytes for each (seed, task, id), which do not reveal an id that is text of the data."""
    return list(_digests(seed, tuple(map(str, tasks)), tuple(map(str, ids))))


@lru_cache(maxsize=4)  # model after model is judged on the examples of one task
def _digests(seed: int, tasks: tuple[str, ...], ids: tuple[str, ...]) -> tuple[bytes, ...]:
    keys = (f"{seed}\x1f{task}\x1f{id}".encode() for task, id in zip(tasks, ids, strict=True))
    return tuple(hashlib.blake2b(key, digest_size=8).digest() for key in keys)
