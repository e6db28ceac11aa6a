"""The command `run` with a stand-in for what trains and predicts; everything else of a run is real."""

import contextlib
import io
import json
import re
import shlex
import sys
import types
from pathlib import Path

import cat_keras
from benchmarks import cli
from cat_keras.data.records import Prediction
from cat_keras.storage import store

ROOT = Path(__file__).parents[2]
PROFILE = """
methods = ["xent", "cat-xent", "gatekeeper"]
seeds = [0, 1]
[data]
tasks = ["sst2"]
source = "samples"
train = 4
test = 4
max_length = 48
max_new_tokens = 8
[large]
layers = 2
width = 2
heads = 1
feedforward = 1
tune = {epochs = 1, learning_rate = 1e-3}
[small]
layers = 1
width = 2
heads = 1
feedforward = 1
[objective]
epochs = 1
learning_rate = 1e-3
"""
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\d+) (\w+) +(.*)")


class Bench:
    """Stands for `benchmarks.running.workbench.Workbench`; each test has a class of its own, see `install`.

    Attributes:
        made: names of the models in the order they were begun. failing: what a step raises, by its label.
        watch: called before each model.
    """

    made: list
    failing: dict
    watch = staticmethod(lambda: None)

    def __init__(self, todo, cache, progress, place=None, logs=None):
        self.todo, self.cache, self.progress = todo, cache, progress

    def keep(self, models):
        """Nothing is kept between models."""

    def make(self, model):
        self.made.append(self.todo.name(model))
        self.watch()
        if (cell := self.todo.last(model)) is None:
            return
        if cell.needs_teacher:
            self.teacher()
        self.cache.get("train", cell.key, lambda folder: self._trained(folder, cell.label))

    def _trained(self, folder, label):
        self._step(label)
        store.write_json(folder / "history.json", {"loss": [1.0], "live": [1.0]})
        return {"steps": 1, "loss": 1.0, "live": 1.0, "padding": 0.0, "label": label}

    def teacher(self):
        def build(folder):
            self._step("teacher cache")

        self.cache.get("teacher", self.todo.teacher, build)

    def predict(self, role, cell, label, examples):
        self._step(f"predict {label}")
        return [Prediction(e.id, e.task, e.target, [-0.1], [-0.1, -2.0], 5, 1, 1.0, 0.1) for e in examples]

    def mend(self, damaged):
        raise AssertionError(damaged)

    def _step(self, label):
        self.progress.start(label, 1, "")
        if label in self.failing:
            raise self.failing[label]
        self.progress.done("as planned")


def install(monkeypatch) -> type[Bench]:
    """Runs of this test use the bench that is returned, and draw no report."""
    bench = type("TestBench", (Bench,), {"made": [], "failing": {}})
    monkeypatch.setitem(sys.modules, "benchmarks.running.workbench", types.SimpleNamespace(Workbench=bench))
    place = types.SimpleNamespace(choose=lambda strategy: "none", configured_workers=lambda: 0)
    monkeypatch.setitem(sys.modules, "cat_keras.training.distribution", place)
    monkeypatch.setitem(vars(cat_keras), "distribution", place)
    monkeypatch.setattr("benchmarks.report.build", lambda folder, console, verbose, again: None)
    monkeypatch.setattr("benchmarks.running.preflight.check", lambda *_: [])  # it asks real models and tokenizers
    monkeypatch.setattr("benchmarks.running.preflight.rows", lambda *_: [])
    monkeypatch.setattr("benchmarks.running.locks.POLL", 0.01)
    return bench


def call(monkeypatch, command: str) -> tuple[int, str]:
    """Exit status and standard output of a command line that begins with `python -m benchmarks`."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "benchmarks"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words[3:]])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0, out.getvalue()
    return 0, out.getvalue()


def events(path) -> list[tuple[str, str]]:
    """(event, text) of every line; each has its time and process."""
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert all(found), path.read_text()
    return [(line[3], line[4]) for line in found]


def manifest(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())
