"""Metrics of single SuperGLUE tasks, and the benchmark's average (Wang et al., 2019, arXiv 1905.00537)."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.metrics.answers import TriviaQa, squad_normalise
from benchmarks.metrics.classification import F1, Accuracy
from benchmarks.metrics.metric import by_group, code, group_code, percent
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

# The eight tasks of the average and the numbers that each reports; the diagnostics axb and axg are not among them.
SCORED = {
    "bool_q": ("accuracy",),
    "cb": ("macro_f1", "accuracy"),
    "copa": ("accuracy",),
    "multirc": ("f1a", "exact_match"),
    "record": ("f1", "exact_match"),
    "rte": ("accuracy",),
    "wic": ("accuracy",),
    "wsc": ("accuracy",),
}


class MultiRC(F1):
    """F1a: F1 of "this option answers the question" over all options; EM: share of questions with every option right.

    The options of a question share their `group` (Khashabi et al., 2018, https://aclanthology.org/N18-1023).

    Args:
        positive: the answer that says an option is right.
    """

    name = "multirc"

    def __init__(self, positive: str = "yes"):
        super().__init__(positive)

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        statistics = super().statistics(texts, examples)
        return [(*row, group_code(example)) for row, example in zip(statistics, examples, strict=True)]

    def combine(self, right, truth, answer, group) -> dict[str, float]:
        f1 = super().combine(right, truth, answer)
        exact = percent(all(options) for options in by_group(right, group).values())
        return {"f1a": f1["f1"], "exact_match": exact, "accuracy": f1["accuracy"]}


class Record(TriviaQa):
    """ReCoRD: token F1 and exact match, each the best over the accepted mentions (Zhang et al., 2018, 1810.12885)."""

    name = "record"
    per_example_name = "token F1"
    numbers = ("f1", "exact_match")

    def _words(self, text: str) -> str:
        return squad_normalise(text)


class GenderParity(Accuracy):
    """Winogender diagnostic: accuracy, and the share of sentence pairs (same `group`) that get the same answer."""

    name = "gender_parity"

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        groups = [group_code(example) for example in examples]
        for members in by_group(examples, groups).values():
            if len(members) != 2:
                raise CatKerasError(
                    f"Gender parity compares pairs; group {members[0].group!r} has {len(members)} examples. Answer "
                    "both sentences of every pair, or correct the task's group"
                )
        statistics = super().statistics(texts, examples)
        return [(*row, code(text), group) for row, text, group in zip(statistics, texts, groups, strict=True)]

    def combine(self, right, answer, group) -> dict[str, float]:
        pairs = by_group(answer, group).values()
        return {**super().combine(right), "gender_parity": percent(first == second for first, second in pairs)}


def superglue_average(scores: Mapping[str, Mapping[str, float]]) -> float:
    """SuperGLUE's score: the unweighted mean of its eight tasks, where a task with two numbers counts with their mean.

    Args:
        scores: numbers of `Metric.corpus` by task; other tasks, such as the diagnostics, do not count.

    Raises:
        CatKerasError: a task or one of its numbers is missing; the average never skips one.
    """
    missing = [task for task in SCORED if task not in scores]
    if missing:
        raise CatKerasError(
            f"SuperGLUE's average takes all of {', '.join(SCORED)}; missing: {', '.join(missing)}. Run the missing "
            "tasks, or report single tasks"
        )
    return sum(_score(task, scores[task]) for task in SCORED) / len(SCORED)


def _score(task: str, numbers: Mapping[str, float]) -> float:
    """Mean of a task's official numbers, 0..100."""
    values = [numbers.get(name, math.nan) for name in SCORED[task]]
    if not all(math.isfinite(value) for value in values):
        raise CatKerasError(
            f"SuperGLUE's average needs {' and '.join(SCORED[task])} of {task}; received {dict(numbers)}. Judge the "
            "task with its official metric"
        )
    return sum(values) / len(values)
