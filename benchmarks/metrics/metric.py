"""The interface of every metric, and what several of them need: averages, groups, codes for texts."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError


class Metric(ABC):
    """The interface of a metric. Official numbers follow from statistics of each answer, which hold none of its text.

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
        """Sufficient statistics: one tuple per answer, all of the same length, with numbers and never text."""

    @abstractmethod
    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        """The numbers of `corpus` from the statistics of all n answers, given column by column, n values each."""

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Official numbers of all answers together, by name, the headline first: 0..100, but correlations -1..1.

        Raises:
            CatKerasError: no answers, or not one answer per example.
        """
        check_answers(texts, examples)
        return self.combine(*zip(*self.statistics(texts, examples), strict=True))

    def signature(self, examples: Sequence[Example]) -> str:
        """The settings that must agree for numbers to be compared (tokenizer, references, version); "" if none vary."""
        return ""


def code(text: str) -> float:
    """A number that is equal for equal texts and does not give the text away: 48 bits of a hash, exact in a float."""
    return float(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()))


def percent(shares: Iterable[float]) -> float:
    """100 times the mean of numbers in [0, 1], of which there must be at least one."""
    shares = list(shares)
    return 100 * (sum(shares) / len(shares))


def check_answers(texts: Sequence[str], examples: Sequence[Example]) -> None:
    """Raises CatKerasError unless there is one answer per example, and at least one."""
    if len(texts) != len(examples) or not len(texts):
        raise CatKerasError(
            f"A metric needs one answer per example and at least one; received {len(texts)} answers to "
            f"{len(examples)} examples. Pass the answers in the order of their examples"
        )


def group_code(example: Example) -> float:
    """The group of an example as a number, see `code`.

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
    """Group → its values, in their order."""
    members: dict[float, list] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    return members
