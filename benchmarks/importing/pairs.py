"""Answers of many pairs of models as one table of numbers: public ones of language models, and those of kept runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow

from benchmarks.importing import joining, public, sources, tables
from benchmarks.report.reading import analysis, load
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.grid import on_grid
from cat_keras.storage import store

SCORES = ("confidence", "stated_confidence")  # the model's own probability, and what it says when it is asked
BASELINE, LARGE = "xent", "large"


def rows(outputs: Path, beside: Sequence[Path] = ()) -> pyarrow.Table:
    """One row per model and question; in the metadata, which models are pairs.

    Args:
        outputs: folder with the files of `public.TABLES`. beside: folders of kept results, whose small model after
            `xent` and large model are pairs too, task by task.

    Raises:
        CatKerasError: a file is missing, or a folder has no `xent`.
    """
    parts, entries, files = [], [], {}
    for table in public.TABLES:
        path = Path(outputs) / table.file
        answers = sources.read([path], tables.Reading(clip=("stated_confidence",)))
        files[table.file] = store.sha256_file(path)
        for made, own in _of_table(table, answers.frame):
            parts.append(made)
            entries += own
    for folder in beside:
        for made, own in _of_run(load.load(folder)):
            parts.append(made)
            entries.append(own)
    facts = {"pairs": entries, "parameters": public.SIZES, "files": files, "beside": [str(f) for f in beside]}
    return analysis.described(pyarrow.concat_tables(parts), facts)


def _of_table(table: public.Table, frame) -> Iterator[tuple[pyarrow.Table, list[dict]]]:
    for task in table.tasks or ("",):
        for number, group in enumerate(table.groups):
            joined = joining.join(frame, group, "first", (task,) if task else ())
            name = {"source": table.source, "task": task or table.source, "group": number}
            scores = {model: _scores(joined, model) for model in group}
            made = [_public(name, joined, model, scores[model]) for model in group]
            entries = [
                name | {"small": small, "large": large, "score": score, "seeds": [0]}
                for small, large in public.pairs(group)
                for score in scores[small]
            ]
            yield pyarrow.concat_tables(made), entries


def _scores(joined: joining.Joined, model: str) -> dict[str, np.ndarray]:
    """Those that every answer of a model has."""
    there = {name: joined.column(name, model).astype(np.float64) for name in SCORES if name in joined.frame}
    return {name: on_grid(values) for name, values in there.items() if not np.isnan(values).any()}


def _public(name: dict, joined: joining.Joined, model: str, scores: dict[str, np.ndarray]) -> pyarrow.Table:
    quality = joined.column("quality", model).astype(np.float64)
    cost = np.full(len(quality), float(public.SIZES.get(model, np.nan)))
    return _table(name, model, 0, quality, quality > 0.5, scores, cost)


def _of_run(run: load.Run) -> Iterator[tuple[pyarrow.Table, dict]]:
    if BASELINE not in run.methods:
        raise CatKerasError(f"A pair of a run is its large model and {BASELINE}. Received: {run.folder} without it")
    rule, source = deferral.get(run.rule), run.folder.name
    for task in run.covered:
        name, bar = {"source": source, "task": task, "group": 0}, run.bars[task]
        large = run.large[task]
        made = [_table(name, LARGE, -1, large["quality"], large["quality"] > bar, {}, large["flops"])]
        for seed in run.complete_seeds(BASELINE):
            small = run.small[BASELINE, seed, task]
            scores = {"confidence": rule.compared(small)}
            made.append(_table(name, BASELINE, seed, small["quality"], small["quality"] > bar, scores, small["flops"]))
        seeds = list(run.complete_seeds(BASELINE))
        entry = {"small": BASELINE, "large": LARGE, "score": "confidence", "seeds": seeds, "own": True}
        yield pyarrow.concat_tables(made), name | entry


def _table(name, model: str, seed: int, quality, right, scores, cost) -> pyarrow.Table:
    """Questions are numbers, in the order in which all models of a group have them."""
    n = len(quality)
    columns = {key: [value] * n for key, value in (name | {"model": model}).items()}
    columns |= {"seed": np.full(n, seed, np.int32), "id": np.arange(n, dtype=np.int32)}
    columns |= {"quality": np.asarray(quality, np.float64), "right": np.asarray(right, bool)}
    columns |= {key: np.asarray(scores.get(key, np.full(n, np.nan)), np.float64) for key in SCORES}
    return pyarrow.table(columns | {"cost": np.asarray(cost, np.float64)})
