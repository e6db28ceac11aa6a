"""Router or cascade in a report: judged where there are prompts, the same of kept results, and why not elsewhere."""

import csv

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from benchmarks import report
from benchmarks.keeping import keep, route
from benchmarks.report.numbers import routing, summary
from benchmarks.report.reading import load, routes
from benchmarks.report.tables import routing_tables
from cat_keras.cascades import routing as library
from cat_keras.errors import CatKerasError
from tests import runs


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Two tasks with prompts of which one says how hard a question is, and one that is too small."""
    folder = runs.full(tmp_path_factory.mktemp("routed") / "full", ("sst2", "embedded_translate"), n=80)
    examples = pyarrow.parquet.read_table(folder / "examples.parquet")
    predictions = pyarrow.parquet.read_table(folder / "predictions.parquet").to_pandas()
    hard = predictions["id"].str.removeprefix("test-").astype(int) % 2 == 1
    small = predictions["model"] == "small"
    predictions.loc[small, "quality"] = np.where(hard[small], 0.0, 1.0)
    predictions.loc[~small, "quality"] = 1.0
    prompts = [f"secret {'prove' if i % 2 else 'name'} it, number {i}" for i in range(80)] * 2
    place = examples.column_names.index("prompt")
    pyarrow.parquet.write_table(examples.set_column(place, "prompt", [prompts]), folder / "examples.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(predictions, preserve_index=False),
                                folder / "predictions.parquet")  # fmt: skip
    manifest = load.files.store.read_manifest(folder / "manifest.json")
    load.files.store.write_json(folder / "manifest.json", manifest | {"files": {}})
    return folder


@pytest.fixture(scope="module")
def compared(full):
    numbers = summary.summarize(load.load(full))
    return numbers, routing.compare(numbers)


def test_a_prompt_that_says_all_beats_the_answers(compared):
    numbers, found = compared
    assert found.tasks == ("sst2", "embedded_translate") and not found.reason
    standing = found.standings[routing.ROUTE, "xent"]
    # Half of the questions are lost without the large model: the router sends them there, half a budget for all of it.
    assert standing.quality.estimate == pytest.approx(0.875, abs=0.01) and standing.difference.low > 0
    assert standing.audc == pytest.approx(0.875, abs=0.01) and standing.p_value < 0.01
    assert found.standings[routing.COIN, "xent"].quality.estimate == pytest.approx(0.75)
    assert np.isnan(found.standings[routing.CASCADE, "xent"].p_value)
    assert found.standings[routing.BOTH, "xent"].difference.low > 0
    assert found.ways == (routing.CASCADE, routing.LEARNED, routing.ROUTE, routing.BOTH, routing.COIN)
    sentence = routing_tables.sentence(numbers, found)
    assert sentence.startswith("Router or cascade? A router.") and "[" in sentence


def test_the_area_of_the_cascade_is_that_of_its_ways(compared):
    """A task and a seed by hand: the area of the table is the mean of these."""
    numbers, found = compared
    values = []
    for (_, _, name), cell in ((k, c) for k, c in numbers.cells.items() if k[0] == "xent"):
        quality = np.stack([cell.small["quality"], cell.large["quality"]])
        cost = np.stack([cell.small["flops"], cell.large["flops"]])
        fold_of = library.folds(name, numbers.run.units[name].tolist())
        way = library.cascade(cell.score(numbers.run.rule), quality, cost, fold_of)
        values.append(way.area(np.full((1, 80), 1 / 80), *cost.mean(axis=1)[:, None])[0])
    assert found.standings[routing.CASCADE, "xent"].quality.estimate == pytest.approx(np.mean(values))


def test_kept_results_say_the_same_without_a_word_of_the_prompts(full, tmp_path):
    expected = report.files(load.load(full), drawn=False)
    assert "Router or cascade?" in expected["table.md"].decode()
    rows = list(csv.DictReader(expected["routing.csv"].decode().splitlines()))
    assert len({row["way"] for row in rows}) == 5 and {row["method"] for row in rows} == set(runs.METHODS)
    kept = keep.keep(full, tmp_path / "kept")
    assert report.files(load.load(kept), drawn=False) == expected
    keep.redraw(kept)
    assert {name: (kept / name).read_bytes() for name in expected} == expected
    scores = load.load(kept).routes
    assert len(scores) == 8 and all(each.dtype == np.int16 and len(each) == 80 for each in scores.values())
    assert keep._routes_of(kept, load.load(full)).keys() == scores.keys()
    assert b"secret" not in (kept / routes.FILE).read_bytes()


def test_scores_of_other_examples_are_refused(full, tmp_path):
    kept = keep.keep(full, tmp_path / "kept")
    manifest = load.files.store.read_manifest(kept / "manifest.json")
    contents = {name: (kept / name).read_bytes() for name in keep.PREDICTIONS}
    contents[routes.FILE] = routes.to_parquet({("xent", 0, "sst2"): np.zeros(3, np.int16)})
    load.files.store.write_together(kept, contents, manifest)
    with pytest.raises(CatKerasError, match="each of the 80 examples"):
        load.load(kept)
    far = {("xent", 0, "sst2"): np.full(80, 30_000, np.int16)}
    load.files.store.write_together(kept, contents | {routes.FILE: routes.to_parquet(far)}, manifest)
    with pytest.raises(CatKerasError, match="thousandths"):
        load.load(kept)


def test_where_nothing_is_judged_the_report_says_why(tmp_path):
    numbers = summary.summarize(load.load(runs.full(tmp_path / "few", ("sst2",))))
    found = routing.compare(numbers)
    assert found.reason == "fewer than 50 examples" and not routing_tables.every_table(numbers, found)
    assert routing_tables.sentence(numbers, found) == "Routing was not judged: fewer than 50 examples."
    assert "routing.csv" not in report.files(numbers.run, drawn=False)


def test_prompts_of_committed_results_are_made_again():
    run = load.load(runs_root() / "results" / "embedded")
    examples = route._examples(run, "embedded_lookup", None, "")
    assert route._is_of(examples, run.manifest["kept"]["examples"]["embedded_lookup"])
    assert not route._is_of(examples[:-1], run.manifest["kept"]["examples"]["embedded_lookup"])


def test_routers_are_fitted_to_kept_results_of_a_run_alone(full):
    with pytest.raises(CatKerasError, match="kept results"):
        route.route(full)


def runs_root():
    from pathlib import Path

    return Path(__file__).parents[2]
