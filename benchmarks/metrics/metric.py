"""The interface of every metric, and what several of them need: averages, groups, codes for texts."""

import hashlib
import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError


class Metric(ABC):
    """The interface of a metric. Official numbers follow from statistics of each answer, which hold none of its text.

    The quality of an answer follows two rules that the script behind an official number may break: an answer equal to
    a reference has quality 1, and an empty answer has less. `per_example` keeps them for every metric; "Metrics" in
    docs/benchmark.md names the official numbers that do not.

    Attributes:
        name: as `get` takes it. per_example_name: what `per_example` measures, for axis labels.
        scripts: the scripts whose words the official numbers count. remedy: what to do about texts in others.
        version: raised when the quality or the official numbers of some answer change.
        needs: module that is imported when the metric is used → package that has it.
    """

    name: str
    per_example_name: str
    scripts: str = "all"
    remedy: str = ""
    version: int = 1
    needs: ClassVar[Mapping[str, str]] = {}

    def per_example(self, text: str, example: Example) -> float:
        """Quality of one answer, in [0, 1]: 1 if it is one of the references.

        A blank answer has quality 0, unless all references are blank; a blank reference beside others accepts nothing.

        Raises:
            CatKerasError: the references are not what the metric compares with.
        """
        quality = self._quality(text, example)
        if not text.strip():
            return float(not any(reference.strip() for reference in example.references))
        return 1.0 if text in example.references else min(1.0, quality)  # a mean of shares may be 1 + 2e-16

    @abstractmethod
    def _quality(self, text: str, example: Example) -> float:
        """Quality of one answer that is neither blank nor a reference; `per_example` decides about the others."""

    @abstractmethod
    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        """Sufficient statistics: one tuple per answer, all of the same length, with numbers and never text."""

    @abstractmethod
    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        """The numbers of `corpus` from the statistics of all n answers, given column by column, n values each."""

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Official numbers of all answers together, by name, the headline first: 0..100, but correlations -1..1.

        Warns (UserWarning) where the metric cannot read the script of references, see `scripts`.

        Raises:
            CatKerasError: no answers, or not one answer per example.
        """
        check_answers(texts, examples)
        if unread := self.unread(examples):
            warnings.warn(
                f"The official numbers of metric {self.name} count words of these scripts: {self.scripts}. Received: "
                f"{unread} of {len(examples)} examples with references in others, for which these numbers are too low; "
                f"the quality of an example is not. {self.remedy}",
                stacklevel=2,
            )
        return self.combine(*zip(*self.statistics(texts, examples), strict=True))

    def signature(self, examples: Sequence[Example]) -> str:
        """The settings that must agree for numbers to be compared (tokenizer, references, version); "" if none vary."""
        return ""

    def unread(self, examples: Sequence[Example]) -> int:
        """The number of examples of which every reference is mostly in scripts that the official numbers miss."""
        return 0

    def check_available(self) -> None:
        """Finds out, in milliseconds and without a network, whether all that the metric needs is installed.

        Raises:
            CatKerasError: something is not. The error names all of it, and how to install it.
        """
        missing = [package for module, package in self.needs.items() if not is_installed(module)]
        if missing:
            raise CatKerasError(
                f"Metric {self.name} needs packages that are not installed: {', '.join(missing)}. Install them: "
                f"pip install {' '.join(missing)}"
            )


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its package is missing, or something else stands under its name
        return False


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
