"""Longer cascades in a report, on invented answers of three models: numbers by hand, files, holes, and what is kept."""

import csv
import io

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from benchmarks.keeping import compare, keep, verify
from benchmarks.report.numbers import chains, summary
from benchmarks.report.page.contents import Contents
from benchmarks.report.reading import load
from benchmarks.report.tables import chain_tables, render
from cat_keras.cascades import routing
from cat_keras.cascades.frontier import frontier
from cat_keras.errors import CatKerasError
from tests import runs

TASKS = ("sst2", "embedded_translate")
N = 60
COSTS = {"small": 1e5, "middle": 3e6, "large": 1e7}


def logprobs(column, length, sure):
    """Those of an answer's tokens or options, where the model is sure of it or not at all."""
    if column == "token_logprobs":
        return np.full(length, -0.01 if sure else -2.0)
    return np.where(np.arange(length) == 0, -0.01, -5.0) if sure else np.full(length, -1.0)


def answers(folder, middle_right):
    """A third of the questions is for each model; `middle_right` says which thirds the middle one gets right."""
    path = folder / "predictions.parquet"
    table = pyarrow.parquet.read_table(path).to_pandas()
    hard = table["id"].str.removeprefix("test-").astype(int) % 3
    for model, thirds in {"small": (0,), "middle": middle_right, "large": (0, 1, 2)}.items():
        own = table["model"] == model
        table.loc[own, "flops"] = COSTS[model]
        table.loc[own, "quality"] = hard[own].isin(thirds).astype(float)
        for column in ("token_logprobs", "option_logprobs"):
            old = table.loc[own, column]
            rows = [logprobs(column, len(row), sure) for row, sure in zip(old, hard[own].isin(thirds), strict=True)]
            table.loc[own, column] = pandas.Series(rows, index=old.index)
    columns = pyarrow.Table.from_pandas(table, preserve_index=False)
    pyarrow.parquet.write_table(columns, path)
    manifest = load.files.store.read_manifest(folder / "manifest.json")
    load.files.store.write_json(folder / "manifest.json", manifest | {"files": {}})
    return folder


@pytest.fixture(scope="module")
def pays(tmp_path_factory):
    folder = runs.full(tmp_path_factory.mktemp("pays") / "full", TASKS, n=N, middle=("middle",))
    return answers(folder, (0, 1))


@pytest.fixture(scope="module")
def compared(pays):
    numbers = summary.summarize(load.load(pays))
    return numbers, chains.compare(numbers)


def test_models_of_a_run(pays):
    run = load.load(pays)
    assert list(run.middle) == ["middle"] and len(run.middle["middle"]) == len(run.small) == 8
    assert run.cell("middle/xent/0", "sst2")["flops"].tolist() == [3e6] * N
    assert run.cell("xent/0", "sst2")["flops"].tolist() == [1e5] * N
    assert run.cell("large/-1", "sst2")["flops"].tolist() == [1e7] * N
    without = run.without_smaller("middle")
    assert not without.middle and without.small is run.middle["middle"]


def test_a_middle_model_that_pays(compared):
    found = compared[1]
    assert found.whole == "small → middle → large" and found.pairs == ("small → large", "middle → large")
    assert found.tasks == TASKS
    standing = found.standings["xent"]
    assert standing.minus[chains.TWO].low > 0
    sentence = chain_tables.sentence(found)
    assert sentence.startswith("Does the model middle pay? Yes with xent +") and "cat-xent +" in sentence
    assert standing.alone == pytest.approx(np.array([[1e5, 1 / 3], [3e6, 2 / 3], [1e7, 1]]))
    for curve in standing.curves.values():
        cost, quality, low, high = curve
        assert (np.diff(cost) > -1e-6).all() and (low <= quality + 1e-9).all() and (quality <= high + 1e-9).all()


def test_the_numbers_are_those_of_the_frontier(compared):
    """The means over tasks and seeds of what the library gives."""
    numbers, found = compared
    wholes, gains = [], []
    for name in TASKS:
        for seed in (0, 1):
            stages = chains.stages(numbers, "xent", seed, name)
            fold_of = routing.folds(name, numbers.run.units[name].tolist())
            budgets = np.linspace(1e5, 1e7, chains.BUDGETS)
            pairs = [chains._pair(stages, i) for i in (0, 1)]
            whole, two = (
                frontier(systems, fold_of, budgets).area(np.full((1, N), 1 / N), np.array([1e5]), np.array([1e7]))[0]
                for systems in ([stages], pairs)
            )
            wholes.append(whole)
            gains.append(whole - two)
    standing = found.standings["xent"]
    assert standing.quality[found.whole].estimate == pytest.approx(np.mean(wholes))
    assert standing.minus[chains.TWO].estimate == pytest.approx(np.mean(gains))


def test_a_middle_model_that_knows_no_more_does_not_pay(tmp_path):
    folder = answers(runs.full(tmp_path / "full", ("sst2",), ("cat-xent",), (0,), N, middle=("medium",)), (0,))
    table = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pandas()
    table.loc[table["model"] == "medium", "quality"] = 0.0
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(table, preserve_index=False), folder / "predictions.parquet")
    sentence = chain_tables.sentence(chains.compare(summary.summarize(load.load(folder))))
    assert sentence.startswith("Does the model medium pay? No, two models are better with cat-xent -")


@pytest.mark.slow
def test_files_and_screen(pays):
    contents = Contents(load.load(pays))
    made = contents.files(drawn=False)
    rows = list(csv.DictReader(made["chains.csv"].decode().splitlines()))
    names = ["small → middle → large", chains.TWO, "small → large", "middle → large"]
    assert [row["cascade"] for row in rows] == names * 2
    assert len(list(csv.DictReader(made["chain_curves.csv"].decode().splitlines()))) == 2 * 4 * chains.BUDGETS
    assert "## Longer cascades, invented" in made["table.md"].decode()
    assert "without middle: see Longer cascades" in made["table.md"].decode()
    console = Console(width=120, record=True, file=io.StringIO())
    contents.print(console)
    screen = console.export_text()
    assert "small→middle→large" in screen and "Does the model middle pay?" in screen
    assert len(screen.splitlines()) < 24


@pytest.mark.slow
def test_what_is_kept_says_the_same(tmp_path):
    made = runs.full(tmp_path / "full", ("sst2",), ("xent",), seeds=(0,), n=N, middle=("middle",))
    kept = keep.keep(made, tmp_path / "kept")
    assert verify.verify(kept).problems == ()
    rows = chain_tables.records(chains.compare(summary.summarize(load.load(made))))
    assert render.csv_bytes(rows) == (kept / "chains.csv").read_bytes()
    assert list(load.load(kept).middle) == ["middle"]


def test_holes_are_named(pays, tmp_path):
    table = pyarrow.parquet.read_table(pays / "predictions.parquet").to_pandas()
    hole = (table["model"] == "middle") & (table["method"] == "xent") & (table["seed"] == 1) & (table["task"] == "sst2")
    folder = tmp_path / "holes"
    folder.mkdir()
    for name in ("examples.parquet", "manifest.json"):
        (folder / name).write_bytes((pays / name).read_bytes())
    left = pyarrow.Table.from_pandas(table[~hole], preserve_index=False)
    pyarrow.parquet.write_table(left, folder / "predictions.parquet")
    run = load.load(folder)
    assert run.missing == ("middle/xent/1/sst2",)


def test_too_few_examples_are_said(tmp_path):
    folder = runs.full(tmp_path / "few", ("sst2",), n=20, seeds=(0,), middle=("middle",))
    found = chains.compare(summary.summarize(load.load(folder)))
    assert not found.standings and chain_tables.table(summary.summarize(load.load(folder)), found) is None
    assert "cannot be said: fewer than 50 examples" in chain_tables.sentence(found)


def test_a_run_of_two_models_has_none_of_it(tmp_path):
    run = load.load(runs.full(tmp_path / "two", ("sst2",), n=60, seeds=(0,)))
    contents = Contents(run)
    assert contents.chains is None and "chains.csv" not in contents.files(drawn=False)


def test_compare_refuses(pays):
    run = load.load(pays)
    with pytest.raises(CatKerasError, match="has middle between them"):
        compare.compare(run, run)
