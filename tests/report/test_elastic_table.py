"""Sizes in the report: each at its FLOPs, beside the same size alone and the cascade of the pair at equal FLOPs."""

from collections import ChainMap
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.report.numbers import elastic
from benchmarks.report.numbers.cells import Cell
from benchmarks.report.reading import load
from benchmarks.report.tables import elastic_table, render
from tests import runs

METHODS = ("elastic-tiny", "elastic-whole", "static-tiny", "static-whole")
SETTINGS = {"elastic": {"sizes": {"tiny": {"layers": 1}}}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic") / "run"
    made = load.load(runs.full(folder, ("sst2", "cb"), METHODS, (0, 1), n=40, settings=SETTINGS))
    for key, answers in made.small.items():
        if key[0].endswith("whole"):
            made.small[key] = ChainMap({"flops": np.full(len(answers["quality"]), 4e6)}, answers)
    return made


@pytest.fixture(scope="module")
def dial(run):
    cells = {key: Cell(run, *key) for key in run.small}
    return elastic.dial(SimpleNamespace(run=run, cells=cells, large_cost=1e7, large_quality=0.8))


def test_a_curve_by_hand():
    """Three answers, the least sure deferred first; what is deferred has paid for both models."""
    score, small, large = np.array([0.9, 0.1, 0.5]), np.array([1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    cell = SimpleNamespace(
        run=SimpleNamespace(rule="r"), outcomes=lambda rule: SimpleNamespace(score=score),
        small={"quality": small, "flops": np.full(3, 2.0)}, large={"quality": large, "flops": np.full(3, 6.0)},
    )  # fmt: skip
    cost, quality = elastic._curve(cell, np.array([[1, 1, 1], [0, 2, 1]]) / 3)
    np.testing.assert_allclose(cost[:, [0, -1]], [[2, 8], [2, 8]])
    np.testing.assert_allclose(np.interp([1 / 3, 2 / 3], elastic.RATES, quality[0]), [1, 2 / 3], atol=0.01)
    np.testing.assert_allclose(quality[:, [0, -1]], [[2 / 3, 2 / 3], [1 / 3, 2 / 3]])


def test_the_best_cascade_is_that_of_whichever_size_is_ahead_and_has_begun():
    early = np.array([[1.0, 9.0]]), np.array([[0.2, 1.0]])
    late = np.array([[3.0, 7.0]]), np.array([[0.6, 0.7]])
    best = elastic._best([early, late], np.array([0.5, 2.0, 3.0, 8.0, 10.0]))
    np.testing.assert_allclose(best, [[np.nan, 0.3, 0.6, 0.9, np.nan]])


def test_numbers_are_those_of_the_answers(run, dial):
    assert [s.method for s in dial.standings] == list(METHODS)
    tiny, whole, static, _ = dial.standings
    mean = {m: np.mean([run.small[m, s, t]["quality"].mean() for s in (0, 1) for t in run.tasks]) for m in METHODS}
    assert tiny.quality.estimate == pytest.approx(mean["elastic-tiny"])
    assert tiny.sharing.estimate == pytest.approx(mean["elastic-tiny"] - mean["static-tiny"])
    assert tiny.flops == 1e6 and whole.flops == 4e6 and static.sharing is tiny.cascade is None
    # The cascade of elastic-tiny costs 1e6 + rate · 1e7, so that 4e6 is at a rate of 0.3.
    flops, quality = dial.curves["elastic"]
    assert (flops[0], flops[-1]) == (1e6, 1e7)
    assert whole.cascade.estimate == pytest.approx(np.interp(3.99e6, flops, quality), abs=0.02)
    assert whole.against_cascade.estimate == pytest.approx(whole.quality.estimate - whole.cascade.estimate)
    for interval in (tiny.quality, tiny.sharing, whole.cascade, whole.against_cascade):
        assert interval.low <= interval.estimate <= interval.high and interval.low < interval.high


def test_the_table_and_the_file_have_a_row_of_each_method(dial):
    table = elastic_table.table(dial)
    assert [row[0] for row in table.rows] == [*METHODS, "large alone"]
    rows = render.csv_bytes(elastic_table.records(dial)).decode().splitlines()
    assert rows[1].startswith("elastic-tiny,elastic,tiny,1e+06,") and len(rows) == 5


def test_other_runs_have_no_such_table(tmp_path):
    plain = load.load(runs.full(tmp_path / "plain", ("sst2",), ("xent",), (0,), n=10))
    assert elastic.dial(SimpleNamespace(run=plain, cells={})) is None and elastic_table.table(None) is None


@pytest.mark.long
def test_the_plot_is_drawn(dial):
    from benchmarks.report.plots import canvas
    from benchmarks.report.plots.elastic import figure

    with canvas.style():
        drawn = figure(dial)
        labels = drawn.axes[0].get_legend_handles_labels()[1]
        assert {"elastic", "static", "elastic, the best size with the large model"} <= {*labels}
        assert canvas.rendered({"elastic": drawn})["elastic.png"].startswith(b"\x89PNG")
