"""Every task reproduced by a test of its own.

    pytest benchmarks -k boolq                                  on samples, the smallest models, seconds
    pytest benchmarks -k boolq --data DIR                       the same path on real rows
    pytest benchmarks -k boolq --data DIR --profile nano        against results/nano, within `tolerance`

All tasks of a session share one run. With a profile it is the profile's own, over its whole mixture, since a task's
result depends on what else is trained on; the run folder in `--runs` is used where there is one.
"""

import csv
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import metrics, sources
from benchmarks.planning import profile
from benchmarks.tasks import listing, loading, task
from cat_keras.data.records import Example
from cat_keras.storage import store

ROOT = Path(__file__).parents[1]
# What the official number of right answers to everything is, where it is not 100.
BEST = {"matthews": 1, "pearson": 1}
# Every stage once, as short as can be: tokenizer, encoding, teacher columns, one training, predictions, report.
SHORT = (
    "data.train=4 data.test=3 data.max_length=256 data.max_new_tokens=32 data.vocabulary_size=1000 "
    "large.pretrain.epochs=0 large.tune.epochs=0 small.pretrain.epochs=0"
).split()
QUANTITIES = ("small_quality", "large_quality", "audc")  # means over the test examples, in [0, 1]

each_task = pytest.mark.parametrize("name", task.names())


def tolerance(reference: float, examples: int, seeds: list[float]) -> float:
    """How far a measured mean may lie from the reference: two standard errors of the difference of two runs.

    The mean of n answers of quality 0..1 has a variance of at most q (1 − q) / n (here with one more right and one more
    wrong answer, so that it is never 0). That the examples are the same makes this wide. The variance over the seeds of
    the reference is added; one seed says nothing about how much a training varies.

    Args:
        reference: the mean q. examples: their number n. seeds: the reference of every seed.
    """
    q = (reference * examples + 1) / (examples + 2)
    variance = q * (1 - q) / examples + (statistics.variance(seeds) if len(seeds) > 1 else 0)
    return 2 * math.sqrt(2 * variance)


@pytest.fixture(scope="session")
def place(pytestconfig):
    """Source and data folder."""
    options = pytestconfig.option
    data = options.data and sources.data_folder(options.data)
    return ("local" if data or options.profile else "samples"), data


@pytest.fixture(scope="session")
def results(request, place, tmp_path_factory):
    """The run folder that all tasks of the session are read from."""
    options = request.config.option
    if not options.profile:
        folder = tmp_path_factory.mktemp("runs")
        run("tiny", place, folder, "--methods", "cat-dist", "--tasks", ",".join(runnable(request.session, place)),
            *(word for change in SHORT for word in ("--set", change)))  # fmt: skip
        return folder / "tiny"
    folder = options.runs / Path(options.profile).stem
    if not (folder / "manifest.json").is_file():
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            run(options.profile, place, options.runs, capture=False)
    return folder


def run(name, place, out, *arguments, capture=True):
    source, data = place
    where = ["--data", str(data)] if data else ["--source", source] if source == "samples" else []
    command = [sys.executable, "-m", "benchmarks", "run", name, "--out", str(out), *where, *arguments]
    python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, capture_output=capture, text=True, env=os.environ | {"PYTHONPATH": python_path})
    if done.returncode:
        output = "" if done.stdout is None else f"\n{done.stdout}\n{done.stderr}"
        pytest.fail(f"{' '.join(command)} ended with status {done.returncode}{output}", pytrace=False)


def runnable(session, place):
    """Selected tasks whose rows are here, and what those without training rows learn from."""
    items = [item for item in session.items if getattr(item, "originalname", "") == "test_reproduces"]
    names = {item.callspec.params["name"] for item in items}
    here = [task.get(name) for name in names if not absent(task.get(name), place)]
    return sorted({name for t in here for name in (t.name, t.trained_on) if name})


def absent(declared, place, splits=("train", "test")):
    """What keeps a task from running here, in words; "" when nothing does."""
    source, data = place
    for split in splits:
        owner = declared if split in declared.splits or not declared.trained_on else task.get(declared.trained_on)
        if not listing.entries([owner], data)[0].rows.get(source, {}).get(split):
            return f"there are no {split} rows of {owner.name} in {data or source}"
    return ""


def rows_of(folder, name):
    """The rows of a task in `tasks.csv`, by method and seed."""
    path = Path(folder) / "tasks.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == name and row["status"] == "ok"]
    return {(row["method"], row["seed"]): row for row in rows}


@each_task
def test_right_answers_score_the_maximum(name, place):
    declared, (source, data) = task.get(name), place
    if missing := absent(declared, place, ("test",)):
        pytest.skip(missing)
    splits = declared.splits if source == "samples" else ("test",)
    examples = [e for split in splits for e in loading.load(declared, split, data, limit=200, source=source)]
    answers = [e.references[0] for e in examples]
    judge = metrics.of(declared)
    qualities = [judge.per_example(a, e) for a, e in zip(answers, examples, strict=True)]
    assert qualities == pytest.approx([1] * len(examples))
    headline, best = next(iter(judge.corpus(answers, examples).items()))
    assert best == pytest.approx(BEST.get(headline, 100))
    if declared.kind == "classification":
        assert all(e.target in e.options and len(set(e.options)) == len(e.options) > 1 for e in examples)


@each_task
def test_reproduces(name, place, request):
    if request.config.option.profile:
        compare(name, place, request)
        return
    if missing := absent(task.get(name), place):
        pytest.skip(missing)
    rows = rows_of(request.getfixturevalue("results"), name)
    assert set(rows) == {("cat-dist", "0")}
    assert all(0 <= float(row[key]) <= 1 for row in rows.values() for key in QUANTITIES)
    assert all(1 <= int(row["examples"]) <= 3 for row in rows.values())


def compare(name, place, request):
    """Fails with measured and reference numbers where they are further apart than `tolerance`."""
    chosen = profile.read(request.config.option.profile)
    references = ROOT / "results" / chosen.name
    reference = rows_of(references, name) if (references / "tasks.csv").is_file() else {}
    if not reference:
        pytest.skip(
            f"results/{chosen.name} has no {name}; `python -m benchmarks run {chosen.name} --tasks {name}` measures it"
        )
    check_task(references, task.get(name))
    folder = request.getfixturevalue("results")
    check_task(folder, task.get(name))
    check_run(folder, chosen, task.get(name), place)
    measured = rows_of(folder, name)
    common = [cell for cell in reference if cell in measured]
    expect(common, f"{folder} and {references} have no method and seed in common")
    lines = dict.fromkeys(line for cell in common for line in differences(cell, measured[cell], reference))
    print(*lines, sep="\n")  # shown by -rP
    off = [line for line in lines if line.endswith("off")]
    expect(not off, "\n".join([f"{name} is not reproduced:", *off]))


def expect(right, otherwise):
    """What a person is told instead of Python's own account of a failed assertion."""
    if not right:
        pytest.fail(otherwise, pytrace=False)


def differences(cell, measured, reference):
    """One line per quantity of a method and seed; those of the large model are the same for all."""
    method, seed = cell
    for key in QUANTITIES:
        found, wanted = float(measured[key]), float(reference[cell][key])
        seeds = [float(row[key]) for (other, _), row in reference.items() if other == method]
        allowed = tolerance(wanted, int(reference[cell]["examples"]), seeds)
        where = key if key == "large_quality" else f"{key}, {method} seed {seed}"
        verdict = "ok" if abs(found - wanted) <= allowed else "off"
        yield f"{where}: measured {found:.4f}, reference {wanted:.4f} ± {allowed:.4f}: {verdict}"


def check_task(folder, declared):
    """Results count only if they are of today's version of a task, judged as today."""
    made, now = store.read_json(folder / "manifest.json")["task_identities"].get(declared.name), declared.identity()
    expect(made, f"{folder} lacks {declared.name}; give another --runs")
    other = [key for key in ("version", "metric", "metric_args") if made[key] != now[key]]
    expect(not other, f"{folder} was made with another {', '.join(other)} of {declared.name}; run its profile again")


def check_run(folder, chosen, declared, place):
    """A run counts only if it has the profile's settings and the test examples that the data give today."""
    import pyarrow.parquet

    made = profile.Profile.model_validate(store.read_json(folder / "manifest.json")["settings"])
    free = {"methods", "seeds"}  # more or fewer of them change no cell
    same = made.model_dump(exclude=free) == chosen.model_dump(exclude=free)
    expect(same, f"{folder} was made with other settings than profile {chosen.name} has; give another --runs")
    (source, data), limit = place, None if chosen.data.test == "all" else chosen.data.test
    expected = loading.load(declared, "test", data, limit, chosen.data.seed, source=source)
    rows = pyarrow.parquet.read_table(folder / "examples.parquet", filters=[("task", "==", declared.name)]).to_pylist()
    same = [Example(**row) for row in rows] == expected
    expect(same, f"{folder} was made with other test examples of {declared.name} than --data has; give another --runs")
