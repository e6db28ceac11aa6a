"""The official metrics of the tasks, each with a quality per example for the cascade's curves.

A metric judges texts against examples; it knows no model and no threshold. The libraries that it needs are imported
only when it is used.
"""

import inspect
from collections.abc import Callable
from typing import Any

from benchmarks.metrics.answers import Squad, TriviaQa
from benchmarks.metrics.classification import F1, Accuracy, ExactMatch, MacroF1Accuracy, Matthews
from benchmarks.metrics.edits import EditDistance
from benchmarks.metrics.given import Given
from benchmarks.metrics.metric import Metric
from benchmarks.metrics.similarity import PearsonSpearman
from benchmarks.metrics.summaries import Rouge
from benchmarks.metrics.superglue import GenderParity, MultiRC, Record, superglue_average
from benchmarks.metrics.translation import Bleu, BleuChrf
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError, unknown_name

__all__ = ["Metric", "get", "identity", "of", "superglue_average"]

_METRICS: dict[str, Callable[..., Metric]] = {
    metric.name: metric
    for metric in (
        Accuracy,
        ExactMatch,
        F1,
        MacroF1Accuracy,
        Matthews,
        PearsonSpearman,
        MultiRC,
        Record,
        GenderParity,
        Squad,
        TriviaQa,
        Bleu,
        BleuChrf,
        Rouge,
        EditDistance,
        Given,
    )
}


def get(name: str, **arguments: Any) -> Metric:
    """The metric of that name.

    Args:
        name: `"accuracy"`, `"exact_match"`, `"f1"`, `"macro_f1_accuracy"`, `"matthews"`, `"pearson_spearman"`,
            `"multirc"`, `"record"`, `"gender_parity"`, `"squad"`, `"trivia_qa"`, `"bleu"`, `"bleu+chrf"`, `"rouge"`,
            `"edit_distance"` or `"given"` (imported answers).
        arguments: `positive`, the positive option of `f1` and `multirc`; `tokenize`, sacrebleu's tokenizer of `bleu`
            and `bleu+chrf`; `no_answer`, the text that means "unanswerable" to `squad`.

    Raises:
        CatKerasError: there is no such metric, or it does not take these arguments.
    """
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    metric = _METRICS[name]
    signature = inspect.signature(metric)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise CatKerasError(
            f"Metric {name} is made with {signature}; received {arguments!r} ({error}). Correct the task's metric_args"
        ) from None
    return metric(**arguments)


def of(task: Task) -> Metric:
    """The metric that judges answers to a task, see `get`."""
    return get(task.metric, **task.metric_args)


def identity(task: Task) -> list:
    """Everything that decides how answers to a task are judged, as JSON-able values, for hashing."""
    version = of(task).version
    # Results of the first versions are named without one.
    return [task.metric, dict(task.metric_args), *([version] if version > 1 else [])]
