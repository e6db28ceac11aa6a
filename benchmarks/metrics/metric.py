"""What every metric offers, and how answers are averaged."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from cat_keras.errors import CatKerasError
from cat_keras.records import Example


class Metric(Protocol):
    """What every metric offers.

    Attributes:
        name: as `get` takes it. per_example_name: what `per_example` measures, for axis labels.
    """

    name: str
    per_example_name: str

    def per_example(self, text: str, example: Example) -> float:
        """Quality of one answer, in [0, 1]."""

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Official numbers of all answers together, the headline first: 0..100, correlations -1..1.

        Raises:
            CatKerasError: no answers, or not one answer per example.
        """

    def signature(self, examples: Sequence[Example]) -> str:
        """What makes a number comparable (tokenizer, references, version); "" where nothing varies."""


def percent(shares: Iterable[float]) -> float:
    """100 times the mean of numbers in [0, 1]; at least one."""
    shares = list(shares)
    return 100 * (sum(shares) / len(shares))


def percent_of(quality: Callable[[str, Example], float], texts: Sequence[str], examples: Sequence[Example]) -> float:
    """100 times the mean quality of answers, one per example."""
    return percent(quality(text, example) for text, example in zip(texts, examples, strict=True))


def check_answers(texts: Sequence[str], examples: Sequence[Example]) -> None:
    """Raises unless there is one answer per example, and at least one."""
    if len(texts) != len(examples) or not len(texts):
        raise CatKerasError(
            f"A metric needs one answer per example and at least one; received {len(texts)} answers to "
            f"{len(examples)} examples. Pass the answers in the order of their examples"
        )


def by_group(values: Iterable, examples: Sequence[Example]) -> dict[str, list]:
    """Collects values by the group of their example.

    Raises:
        CatKerasError: an example has no group.
    """
    groups: dict[str, list] = {}
    for value, example in zip(values, examples, strict=True):
        if not example.group:
            raise CatKerasError(
                f"This metric needs a group on every example; received example {example.id!r} of task "
                f"{example.task!r} without one. Give the task a `group` that names the question or pair of a row"
            )
        groups.setdefault(example.group, []).append(value)
    return groups
