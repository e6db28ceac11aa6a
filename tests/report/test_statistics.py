"""The statistics of a report: restricted averages, bands, metrics, and what each method won or lost."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.report.numbers import measures, per_task, summary
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.curves import macro_average
from tests.runs import full

TASKS = ("sst2", "cola", "cb", "multirc", "wmt22_deen")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load.load(full(tmp_path_factory.mktemp("run"), TASKS, ("xent", "dist", "cat-xent"), n=30))


@pytest.fixture(scope="module")
def numbers(run):
    return summary.summarize(run)


@pytest.fixture(scope="module")
def holes(run):
    """A run without one cell, and without the large model's answers to another task."""
    small = {key: cell for key, cell in run.small.items() if key != ("dist", 1, "cb")}
    large = {name: cell for name, cell in run.large.items() if name != "cola"}
    return summary.summarize(replace(run, small=small, large=large))


def test_scopes_are_suites_and_clusters_that_are_not_all(numbers):
    scopes = numbers.scopes()
    assert next(iter(scopes)) == "all"
    assert scopes["all"] == TASKS
    assert scopes["suite: superglue"] == ("cb", "multirc")
    assert scopes["cluster: sentiment"] == ("sst2",)


def test_a_restricted_summary_is_that_of_a_run_of_these_tasks_alone(run, numbers):
    names = ("multirc", "cb")
    part = numbers.only(names)
    kept = {key: cell for key, cell in run.small.items() if key[2] in names}
    alone = summary.summarize(replace(run, tasks=("cb", "multirc"), small=kept))
    assert part.run.tasks == ("cb", "multirc")
    assert part.target == alone.target
    for ours, theirs in zip((*part.rows, *part.references), (*alone.rows, *alone.references), strict=True):
        assert (ours.audc, ours.interval, ours.difference) == (theirs.audc, theirs.interval, theirs.difference)
        np.testing.assert_equal({**ours.measures}, {**theirs.measures})
    with pytest.raises(CatKerasError, match="Unknown task of the run 'cbb'; did you mean cb"):
        numbers.only(["cbb"])


def test_bands_hold_the_exact_curves(numbers):
    found = numbers.bands()
    assert set(found) == {*numbers.scopes(), *TASKS}
    for row in numbers.rows:
        band = found["all"][row.method]
        np.testing.assert_allclose(band.estimate, row.curve.quality_at(band.rate), atol=1e-12)
        cells = {seed: numbers.cells[row.method, seed, "cb"].curve("chow-average") for seed in (0, 1)}
        np.testing.assert_allclose(found["cb"][row.method].estimate, macro_average(cells, cells).quality_at(band.rate))
    assert numbers.bands() is found
    assert set(numbers.bands("xent")["all"]) == {"dist", "cat-xent"}


def test_bands_of_an_incomplete_run_take_the_seeds_that_are_there(holes):
    found = holes.bands("xent")
    assert "cola" not in found
    assert set(found["all"]) == {"dist", "cat-xent"}
    own = [holes.cells["dist", 0, "cb"].curve("chow-average").quality_at(found["cb"]["dist"].rate)]
    np.testing.assert_allclose(holes.bands()["cb"]["dist"].estimate, own[0])
    base = holes.cells["xent", 0, "cb"].curve("chow-average").quality_at(found["cb"]["dist"].rate)
    np.testing.assert_allclose(found["cb"]["dist"].estimate, own[0] - base, atol=1e-12)


def test_wins_and_losses_need_a_corrected_p_value(tmp_path):
    """`dist` has the answers and scores of `xent`; `cat-xent` is right where it is not, on one task of three."""
    run = load.load(full(tmp_path, ("sst2", "cb", "multirc"), ("xent", "dist", "cat-xent"), n=60))
    small = dict(run.small)
    for (method, seed, name), cell in run.small.items():
        worse = {**cell, "quality": np.zeros(60), "token_logprobs": run.small["xent", seed, name]["token_logprobs"]}
        better = {**worse, "quality": np.ones(60)}
        small[method, seed, name] = better if (method, name) == ("cat-xent", "cb") else worse
    records = per_task.comparisons(summary.summarize(replace(run, small=small)))
    assert [(r["task"], r["method"]) for r in records[:3]] == [("sst2", "dist"), ("sst2", "cat-xent"), ("cb", "dist")]
    found = {(r["task"], r["method"]): r for r in records}
    assert per_task.counts(records) == {
        "dist": {"win": 0, "tie": 3, "loss": 0, "missing": 0},
        "cat-xent": {"win": 1, "tie": 2, "loss": 0, "missing": 0},
    }
    won = found["cb", "cat-xent"]
    assert won["low"] > 0
    assert won["p"] == pytest.approx(2 / 10_001)
    assert won["p_holm"] == pytest.approx(3 * won["p"])
    assert won["p_holm"] == pytest.approx(won["p_bh"])  # the least of three
    assert found["sst2", "dist"]["p"] == found["sst2", "dist"]["p_holm"] == 1
    assert (found["sst2", "dist"]["difference"], found["sst2", "dist"]["low"]) == (0, 0)


def test_comparisons_name_what_is_missing(holes):
    records = {(r["task"], r["method"]): r for r in per_task.comparisons(holes)}
    assert records["cola", "dist"]["status"] == "missing"
    assert records["cb", "dist"]["seeds"] == 1
    assert records["cb", "cat-xent"]["seeds"] == 2
    assert per_task.counts(list(records.values()))["dist"]["missing"] == 1


def test_measures_of_rows_are_those_of_their_curves_and_cells(numbers):
    row = numbers.row("xent")
    curve = row.curves[0]
    assert numbers.cost_range[0] <= numbers.large_cost < numbers.cost_range[1]
    expected = [np.mean([c.aiq(*numbers.cost_range), d.aiq(*numbers.cost_range)]) for c, d in [row.curves.values()]]
    assert row.measures["aiq"].mean == pytest.approx(expected[0])
    assert row.measures["qnc"].mean == pytest.approx(np.mean([each.qnc for each in row.curves.values()]))
    assert curve.quality[0] <= curve.peak
    briers = [[numbers.cells["xent", seed, name].measures["brier"] for name in TASKS] for seed in (0, 1)]
    assert row.measures["brier"].mean == pytest.approx(np.mean(briers))
    shares = [row.measures[f"mass_{name}"].mean for name in ("both", "small_only", "large_only", "neither")]
    assert sum(shares) == pytest.approx(1)


def test_a_metric_that_a_task_does_not_have_is_named(run):
    cell = {**run.small["xent", 0, "sst2"], "quality": np.ones(30)}
    row = summary.summarize(replace(run, small={**run.small, ("xent", 0, "sst2"): cell})).row("xent")
    assert row.undefined["s_o"] == ("sst2",)
    assert "sst2" in row.undefined["auroc_useful"]
    assert not np.isnan(row.measures["s_o"].mean)
    assert "brier" not in row.undefined


def test_scores_that_are_no_probabilities_are_not_judged_as_such():
    right = np.array([True, False, True])
    found = measures.of_score(np.array([3.0, 2.0, 1.0]), "my-rule", right, ~right, right * 1.0)
    assert np.isnan([found["ece"], found["brier"], found["s_o"]]).all()
    assert found["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    sure = measures.of_score(np.array([1e-9, -1.0, -2.0]), "chow-average", right, ~right, right * 1.0)
    assert sure["brier"] == pytest.approx((0 + np.exp(-1) ** 2 + (1 - np.exp(-2)) ** 2) / 3)


def test_records_have_every_metric(numbers):
    records = [row for row in per_task.records(numbers) if row["task"] == "cb" and row["method"] == "dist"]
    cell = numbers.cells["dist", 0, "cb"]
    assert records[0]["apgr"] == pytest.approx(cell.curve("chow-average").apgr, nan_ok=True)
    assert records[0]["augrc"] == cell.measures["augrc"]
    assert records[0]["mass_large_only"] == cell.measures["mass_large_only"]
