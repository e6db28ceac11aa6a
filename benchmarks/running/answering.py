"""The answers of a model, as an entry of the store: in parts, where there are many examples."""

import itertools
from collections.abc import Mapping
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning.plan import PART, Model, Plan
from benchmarks.running.run_folder import PREDICTIONS, STATISTICS, parquet
from cat_keras.data.records import Example
from cat_keras.storage import store

# Columns that are stored only where a prediction of the model has them.
OPTIONAL_MEASURES = ("token_entropies", "token_margins", "embedding", "option_scores")


def predict(todo: Plan, cache: store.Store, bench, model: Model):
    """Stores the answers of one model, with the quality of each.

    Args:
        bench: a `Workbench` of the plan.
    """
    key = todo.prediction_key(todo.model_key(model))

    def build(folder: Path):
        starts = range(0, len(todo.test), PART)
        if len(starts) < 2:
            rows = _rows(todo, bench, model, 0)
        else:
            parts = [_part(todo, cache, bench, model, number) for number in range(len(starts))]
            rows = list(itertools.chain.from_iterable(map(_read, parts)))
        absent = [name for name in OPTIONAL_MEASURES if not any(row[name] for row in rows)]
        # A part that an earlier version answered has none.
        absent += [STATISTICS] if any(row.get(STATISTICS) is None for row in rows) else []
        rows = [{name: value for name, value in row.items() if name not in absent} for row in rows]
        _write(folder, rows)

    cache.get("predict", key, build)


def predict_part(todo: Plan, cache: store.Store, bench, model: Model, number: int):
    """Answers one part of the test examples, unless that is done; `predict` finds it, and makes what is not there."""
    if not cache.has("predict", todo.prediction_key(todo.model_key(model))):
        _part(todo, cache, bench, model, number)


def _part(todo, cache, bench, model, number) -> Path:
    """A sealed folder with the answers of a part, beside the place of the entry until that is complete."""
    folder = cache.taken_up("predict", todo.prediction_key(todo.model_key(model)), f"{number:05}")
    if store.damage(folder) is not None:
        with store.replaced(folder) as fresh:
            _write(fresh, _rows(todo, bench, model, number))
            store.seal(fresh, {})
        cache.hand_on(folder)
    return folder


def _rows(todo, bench, model, number) -> list[dict]:
    """Columns of the answers to a part of the test examples, one dict each."""
    examples = list(itertools.islice(todo.test, number * PART, (number + 1) * PART))
    predictions = bench.predict(todo.role(model), todo.last(model), todo.label(model), examples)
    texts = [prediction.text for prediction in predictions]
    judged = _judged({t.name: metrics.of(t) for t in todo.tasks}, examples, texts)
    return [prediction.asdict() | of_text for prediction, of_text in zip(predictions, judged, strict=True)]


def _judged(metric_of: Mapping[str, metrics.Metric], examples: list[Example], texts: list[str]) -> list[dict]:
    """Quality of each answer, and the statistics that the official numbers follow from, so that no report counts again.

    Args:
        metric_of: task → its metric. examples, texts: equally many.
    """
    judged = [{"quality": metric_of[e.task].per_example(text, e)} for e, text in zip(examples, texts, strict=True)]
    for name in dict.fromkeys(example.task for example in examples):
        places = [i for i, example in enumerate(examples) if example.task == name]
        chosen = [texts[i] for i in places], [examples[i] for i in places]
        for i, statistics in zip(places, metric_of[name].statistics(*chosen), strict=True):
            judged[i][STATISTICS] = list(map(float, statistics))
    return judged


def _write(folder: Path, rows: list[dict]):
    import pyarrow

    store.write_bytes(folder / PREDICTIONS, parquet(pyarrow.Table.from_pylist(rows)))


def _read(folder: Path) -> list[dict]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(folder / PREDICTIONS).to_pylist()
