"""How planning and training grow with the models of a run, and a report with its predictions.

    python -m benchmarks.perf.load

The promise: a run of 2,000 models is planned in under 2 s. Each point is a process of its own, so that its peak of
memory is its own; the store of predictions that a report is made of is invented, from samples of the nano tasks.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
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
from cat_keras.storage import store

MODELS = (250, 500, 1000, 2000)
TRAINED = (50, 100, 200)
PREDICTIONS = (62_500, 250_000, 1_000_000)
PROFILE = profile.read("nano")
SEEDS = (0, 1, 2)


def plan(models: int) -> dict:
    """Names every result of a run of the embedded tasks with so many small models, and says who makes which."""
    from benchmarks.planning import plan, shards

    methods = profile.read("embedded").methods
    study = profile.read("embedded", {"seeds": list(range(models // len(methods)))})
    with _Measured() as found:
        todo = plan.make(study)
        keys = {todo.prediction_key(todo.model_key(model)) for model in todo.models()}
        cells = todo.cells()
        shards.assign(todo, 4)
    assert len(keys) == len(todo.models()) == models + 1 < len(cells)
    return found.numbers


def train(models: int) -> dict:
    """Trains so many of the smallest models, one seed after the other, and has each answer; reports nothing."""
    from rich.console import Console

    from benchmarks.running import run

    changes = {"methods": ["xent"], "seeds": list(range(2 * models)), "data.tasks": ["embedded_lookup"],
               "data.train": 24, "data.test": 4, "small.pretrain.epochs": 0, "large.pretrain.epochs": 0}  # fmt: skip
    with tempfile.TemporaryDirectory() as out, _Measured() as found:
        run.run(profile.read("tiny", changes), None, Path(out), Console(quiet=True), shard=(0, 2))  # half is no report
        made = len([*(Path(out) / "cache" / "predict").iterdir()])
    assert abs(made - models) <= 1
    return found.numbers


def report(folder: str) -> dict:
    """The whole report of a run folder, drawn and written."""
    from rich.console import Console

    from benchmarks import report

    with _Measured() as found:
        report.build(Path(folder), Console(quiet=True))
    return found.numbers


class _Measured:
    """Seconds, processor seconds, and MiB that the peak of memory grew by, within the block."""

    def __enter__(self):
        self._began, self._before = (time.perf_counter(), time.process_time()), _peak()
        return self

    def __exit__(self, *_):
        ends = time.perf_counter(), time.process_time()
        seconds, busy = (end - began for end, began in zip(ends, self._began, strict=True))
        self.numbers = {"seconds": seconds, "CPU seconds": busy, "MiB": _peak() - self._before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- a store of predictions ------------------------------------------------------------------------------------------


def write(folder: Path, predictions: int) -> int:
    """A run folder of about so many predictions of the nano tasks; returns how many it has."""
    models = [("", -1), *((method, seed) for method in PROFILE.methods for seed in SEEDS)]
    tasks = task.select(PROFILE.data.tasks)
    n = max(predictions // (len(models) * len(tasks)), 10)
    invented = [_Invented(each, n) for each in tasks]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "examples.parquet", (each.examples() for each in invented))
    answers = (each.answers(method, seed) for method, seed in models for each in invented)
    _write(folder / "predictions.parquet", answers)
    files = {path.name: store.sha256_file(path) for path in sorted(folder.glob("*.parquet"))}
    manifest = {"scheme": store.HASH_SCHEME, "profile": "load", "rule": PROFILE.rule, "methods": list(PROFILE.methods),
                "seeds": list(SEEDS), "tasks": [each.name for each in tasks], "files": files}  # fmt: skip
    store.write_json(folder / "manifest.json", manifest)
    return n * len(models) * len(tasks)


class _Invented:
    """A task's samples over and over; an answer is the target of its sample or of another one."""

    def __init__(self, declared: task.Task, n: int):
        self.samples, self.n = loading.load(declared, "test", source="samples"), n
        self.of = np.arange(n) % len(self.samples)
        judge = metrics.of(declared)
        self.texts = [e.target for e in self.samples]
        self.quality = np.array([[judge.per_example(text, e) for text in self.texts] for e in self.samples])

    def examples(self) -> pyarrow.Table:
        rows = pyarrow.Table.from_pylist([e.asdict() for e in self.samples], schema=SCHEMA).take(self.of)
        return rows.set_column(0, "id", pyarrow.array([f"test-{i}" for i in range(self.n)]))

    def answers(self, method: str, seed: int) -> pyarrow.Table:
        name = self.samples[0].task
        rng = np.random.default_rng([sum(f"{name} {method}".encode()), seed + 1])
        right = rng.random(self.n) < (0.6 if method else 0.8)
        given = np.where(right, self.of, rng.integers(0, len(self.samples), self.n))
        words = np.array([1 + len(text.split()) for text in self.texts])
        options = np.array([len(e.options) for e in self.samples])
        columns = {
            "id": pyarrow.array([f"test-{i}" for i in range(self.n)]),
            "text": pyarrow.array(self.texts).take(given),
        }
        columns |= {"token_logprobs": _lists(rng, words[given]), "option_logprobs": _lists(rng, options[self.of])}
        numbers = {
            "n_prompt": 40,
            "n_answer": words[given],
            "flops": (1e6 if method else 1e7) * words[given],
            "seconds": 0.01,
        }
        columns |= {k: np.broadcast_to(v, self.n) for k, v in numbers.items()} | {
            "quality": self.quality[self.of, given]
        }
        labels = {"task": name, "model": "small" if method else "large", "method": method}
        columns |= {key: pyarrow.repeat(value, self.n) for key, value in labels.items()}
        return pyarrow.table(columns | {"seed": np.full(self.n, seed, np.int32)})


def _lists(rng: np.random.Generator, lengths: np.ndarray) -> pyarrow.ListArray:
    """Log-probabilities, so many in each row."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, np.log(rng.uniform(0.05, 1, offsets[-1])))


TEXT = pyarrow.string()
SCHEMA = pyarrow.schema({"id": TEXT, "prompt": TEXT, "target": TEXT, "task": TEXT, "options": pyarrow.list_(TEXT),
                         "references": pyarrow.list_(TEXT), "group": TEXT})  # fmt: skip


def _write(path: Path, tables):
    tables = iter(tables)
    first = next(tables)
    with pyarrow.parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


# -- the table -------------------------------------------------------------------------------------------------------


def measured(what: str, value) -> dict:
    command = [sys.executable, "-m", "benchmarks.perf.load", what, json.dumps(value)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main():
    rows = [{"of": "models planned", "size": size} | measured("plan", size) for size in MODELS]
    rows += [{"of": "models trained", "size": size} | measured("train", size) for size in TRAINED]
    for size in PREDICTIONS:
        with tempfile.TemporaryDirectory() as folder:
            count = write(Path(folder), size)
            rows.append({"of": "predictions reported", "size": count} | measured("report", folder))
    table = pd.DataFrame(rows)
    table["promise"] = np.where((table["of"] == "models planned") & (table["size"] == 2000), "< 2 s", "")
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


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"plan": plan, "train": train, "report": report}[sys.argv[1]](json.loads(sys.argv[2]))))
    else:
        main()
