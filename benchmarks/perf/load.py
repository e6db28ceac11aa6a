"""How planning and training grow with the models of a run, and a report with its predictions.

    python -m benchmarks perf load

The promises: a run of 2,000 models is planned in under 2 s, and a report of a million predictions takes 60 s at most.
Each point is a process of its own, so that its peak of memory is its own. The predictions that a report is made of are
invented, from samples of the nano tasks.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from benchmarks import metrics
from benchmarks.perf import paired
from benchmarks.perf.growth import exponent
from benchmarks.planning import profile
from benchmarks.tasks import loading, task
from cat_keras.storage import processes, store

MODELS = (250, 500, 1000, 2000)
TRAINED = (25, 50, 100)
PREDICTIONS = (62_500, 250_000, 1_000_000)
PROFILE = profile.read("nano")
SEEDS = (0, 1, 2)


def measure():
    """Writes the tables `load` and `load-fit`."""
    rows = [{"of": "models planned", "size": size} | in_own_process("plan", size) for size in MODELS]
    rows += [{"of": "models trained", "size": size} | in_own_process("train", size) for size in TRAINED]
    for size in PREDICTIONS:
        with tempfile.TemporaryDirectory() as folder:
            count = write(Path(folder), size)
            rows.append({"of": "predictions reported", "size": count} | in_own_process("report", folder))
    table = pd.DataFrame(rows)
    promises = {"models planned": "< 2 s", "predictions reported": "≤ 60 s"}  # of the largest of each
    largest = table.groupby("of")["size"].transform("max") == table["size"]
    table["promise"] = table["of"].map(promises).where(largest, "").fillna("")
    note = (
        "Plans of the embedded tasks, five methods and as many seeds as it takes, the rows read too. Trained: seeds of "
        "xent in the tiny profile, 24 examples each, with what a run does around a training. Reports of the nano "
        "tasks, five methods and three seeds, with text: read, bootstrapped, drawn and written. "
        "MiB: growth of the peak of the process."
    )
    paired.keep("load", table, note)
    fits = [{"of": of, **{f"exponent of {name}": exponent(part["size"], part[name]) for name in ("CPU seconds", "MiB")},
             "CPU seconds per 1,000 more": np.polyfit(part["size"], part["CPU seconds"], 1)[0] * 1000,
             "KiB per one more": np.polyfit(part["size"], part["MiB"], 1)[0] * 1024}
            for of, part in table.groupby("of", sort=False)]  # fmt: skip
    paired.keep("load-fit", pd.DataFrame(fits), "Fitted to the points of `load`: a · size^exponent, and a line.")


def in_own_process(name: str, value: int | str) -> dict:
    """What a function of `POINTS` gives for the value, measured in a process that does nothing else."""
    return paired.in_own_process("load", name, json.dumps(value))


# -- what is measured ------------------------------------------------------------------------------------------------


def plan(models: int) -> dict:
    """Names every result of a run of the embedded tasks with that many small models, and what each of them needs."""
    from benchmarks.planning import graph, plan

    methods = profile.read("embedded").methods
    study = profile.read("embedded", {"seeds": list(range(models // len(methods)))})
    with _Meter() as meter:
        todo = plan.make(study)
        keys = {todo.prediction_key(todo.model_key(model)) for model in todo.models()}
        cells = todo.cells()
        graph.make(todo, graph.ordered(todo, todo.models()), lambda stage, key: False)
    assert len(keys) == len(todo.models()) == models + 1 < len(cells)
    return meter.numbers


def train(models: int) -> dict:
    """Trains that many of the smallest models, one seed after the other, and has each answer; reports nothing."""
    from rich.console import Console

    from benchmarks.planning import plan
    from benchmarks.running import run
    from benchmarks.running.journal import Journal
    from benchmarks.running.request import Request

    changes = {"methods": ["xent"], "seeds": list(range(models)), "data.tasks": ["embedded_lookup"],
               "data.train": 24, "data.test": 4, "small.pretrain.epochs": 0, "large.pretrain.epochs": 0}  # fmt: skip
    with tempfile.TemporaryDirectory() as out, _Meter() as meter:
        todo = plan.make(profile.read("tiny", changes))
        small = tuple(todo.small)
        folder = Path(out) / "tiny"
        run.results(Request(todo, small, Path(out)), folder, Journal(folder, (), Console(quiet=True)))
        count = len([*(Path(out) / "cache" / "predict").iterdir()])
    assert count == models
    return meter.numbers


def report(folder: str) -> dict:
    """The whole report of a run folder, drawn and written."""
    from rich.console import Console

    from benchmarks import report

    with _Meter() as meter:
        report.build(Path(folder), Console(quiet=True))
    return meter.numbers


POINTS = {"plan": plan, "train": train, "report": report}


class _Meter:
    """Context manager whose `numbers` are the seconds, the processor seconds, and the growth of peak memory in MiB."""

    def __enter__(self):
        self._start, self._busy, self._peak = time.perf_counter(), time.process_time(), _peak_memory()
        return self

    def __exit__(self, *_):
        seconds, busy = time.perf_counter() - self._start, time.process_time() - self._busy
        self.numbers = {"seconds": seconds, "CPU seconds": busy, "MiB": _peak_memory() - self._peak}


def _peak_memory() -> float:
    return processes.peak_memory() / 2**20


# -- invented predictions --------------------------------------------------------------------------------------------


def write(folder: Path, predictions: int) -> int:
    """Writes a run folder of about that many predictions of the nano tasks; returns how many it has."""
    models = [("", -1), *((method, seed) for method in PROFILE.methods for seed in SEEDS)]
    tasks = task.select(PROFILE.data.tasks)
    n = max(predictions // (len(models) * len(tasks)), 10)
    invented = [_InventedTask(declared, n) for declared in tasks]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "examples.parquet", (one.examples() for one in invented))
    answers = (one.answers(method, seed) for method, seed in models for one in invented)
    _write(folder / "predictions.parquet", answers)
    files = {path.name: store.sha256_file(path) for path in sorted(folder.glob("*.parquet"))}
    manifest = {"scheme": store.HASH_SCHEME, "profile": "load", "rule": PROFILE.rule, "methods": list(PROFILE.methods),
                "seeds": list(SEEDS), "tasks": [declared.name for declared in tasks], "files": files}  # fmt: skip
    store.write_json(folder / "manifest.json", manifest)
    return n * len(models) * len(tasks)


class _InventedTask:
    """Examples and answers of a task: its samples over and over, answered by the target of the same or another sample.

    Attributes:
        samples: examples of the task. n: how many examples to invent. texts: the targets of the samples.
        sample_of: (n,) int, which sample each example repeats.
        quality: (samples, samples) float, of each target (column) as an answer to each sample (row).
        statistics: (samples · samples, k) float64, of the same answers, row by row.
    """

    def __init__(self, declared: task.Task, n: int):
        self.samples, self.n = loading.load(declared, "test", source="samples"), n
        self.sample_of = np.arange(n) % len(self.samples)
        judge = metrics.of(declared)
        self.texts = [e.target for e in self.samples]
        self.quality = np.array([[judge.per_example(text, e) for text in self.texts] for e in self.samples])
        asked = [example for example in self.samples for _ in self.texts]
        self.statistics = np.array(judge.statistics(self.texts * len(self.samples), asked), np.float64)

    def examples(self) -> pyarrow.Table:
        rows = pyarrow.Table.from_pylist([e.asdict() for e in self.samples], schema=SCHEMA).take(self.sample_of)
        return rows.set_column(0, "id", pyarrow.array([f"test-{i}" for i in range(self.n)]))

    def answers(self, method: str, seed: int) -> pyarrow.Table:
        """Predictions of a small model, or of the large one when the method is ""."""
        name = self.samples[0].task
        rng = np.random.default_rng([sum(f"{name} {method}".encode()), seed + 1])
        right = rng.random(self.n) < (0.6 if method else 0.8)
        answer_of = np.where(right, self.sample_of, rng.integers(0, len(self.samples), self.n))
        words = np.array([1 + len(text.split()) for text in self.texts])
        options = np.array([len(e.options) for e in self.samples])
        columns = {
            "id": pyarrow.array([f"test-{i}" for i in range(self.n)]),
            "text": pyarrow.array(self.texts).take(answer_of),
            "token_logprobs": _lists(rng, words[answer_of]),
            "option_logprobs": _lists(rng, options[self.sample_of]),
            "statistics": _rows(self.statistics[self.sample_of * len(self.texts) + answer_of]),
        }
        numbers = {
            "n_prompt": 40,
            "n_answer": words[answer_of],
            "flops": (1e6 if method else 1e7) * words[answer_of],
            "seconds": 0.01,
            "quality": self.quality[self.sample_of, answer_of],
        }
        columns |= {key: np.broadcast_to(value, self.n) for key, value in numbers.items()}
        labels = {"task": name, "model": "small" if method else "large", "method": method}
        columns |= {key: pyarrow.repeat(value, self.n) for key, value in labels.items()}
        return pyarrow.table(columns | {"seed": np.full(self.n, seed, np.int32)})


def _lists(rng: np.random.Generator, lengths: np.ndarray) -> pyarrow.ListArray:
    """Invented log-probabilities, `lengths[i]` of them in row i."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, np.log(rng.uniform(0.05, 1, offsets[-1])))


def _rows(matrix: np.ndarray) -> pyarrow.ListArray:
    """A list per row of a matrix."""
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pyarrow.ListArray.from_arrays(offsets, matrix.ravel())


TEXT = pyarrow.string()
SCHEMA = pyarrow.schema({"id": TEXT, "prompt": TEXT, "target": TEXT, "task": TEXT, "options": pyarrow.list_(TEXT),
                         "references": pyarrow.list_(TEXT), "group": TEXT})  # fmt: skip


def _write(path: Path, tables: Iterable[pyarrow.Table]):
    """Writes a Parquet file table by table, so that never more than one is in memory."""
    tables = iter(tables)
    first = next(tables)
    with pyarrow.parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", name, value]:  # how `in_own_process` starts it
            print(json.dumps(POINTS[name](json.loads(value))))
        case _:
            sys.exit("Measure with: python -m benchmarks perf load")
