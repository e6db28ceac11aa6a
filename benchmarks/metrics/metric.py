"""What every metric offers, and how answers are averaged."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError


class Metric(ABC):
    """What every metric offers. Official numbers follow from numbers per answer, which can be kept without the text.

    Attributes:
        name: as `get` takes it. per_example_name: what `per_example` measures, for axis labels.
    """

    name: str
    per_example_name: str

    @abstractmethod
    def per_example(self, text: str, example: Example) -> float:
        """Quality of one answer, in [0, 1]."""

    @abstractmethod
    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        """Sufficient statistics of each answer, one tuple of the same length per answer: numbers, never text."""

    @abstractmethod
    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        """The numbers of `corpus` from the statistics of all answers, column by column, n values each."""

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Official numbers of all answers together, the headline first: 0..100, correlations -1..1.

        Raises:
            CatKerasError: no answers, or not one answer per example.
        """
        check_answers(texts, examples)
        return self.combine(*zip(*self.statistics(texts, examples), strict=True))

    def signature(self, examples: Sequence[Example]) -> str:
        """What makes a number comparable (tokenizer, references, version); "" where nothing varies."""
        return ""


def code(text: str) -> float:
    """A text as a number: equal for equal texts, and nothing of the text in it. 48 bits of a hash, exact in a float."""
    return float(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()))


def percent(shares: Iterable[float]) -> float:
    """100 times the mean of numbers in [0, 1]; at least one."""
    shares = list(shares)
    return 100 * (sum(shares) / len(shares))


def check_answers(texts: Sequence[str], examples: Sequence[Example]) -> None:
    """Raises unless there is one answer per example, and at least one."""
    if len(texts) != len(examples) or not len(texts):
        raise CatKerasError(
            f"A metric needs one answer per example and at least one; received {len(texts)} answers to "
            f"{len(examples)} examples. Pass the answers in the order of their examples"
        )


def group_code(example: Example) -> float:
    """The group of an example as a number.

    Raises:
        CatKerasError: it has none.
    """
    if not example.group:
        raise CatKerasError(
            f"This metric needs a group on every example; received example {example.id!r} of task "
            f"{example.task!r} without one. Give the task a `group` that names the question or pair of a row"
        )
    return code(example.group)


def by_group(values: Iterable, groups: Iterable) -> dict[float, list]:
    """Collects values by their groups."""
    collected: dict[float, list] = {}
    for value, group in zip(values, groups, strict=True):
        collected.setdefault(group, []).append(value)
    return collected
