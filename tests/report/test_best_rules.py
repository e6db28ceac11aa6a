"""Every method by its best rules: chosen on validation data alone, judged by another run, kept and verified."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.keeping import analyses, keep, verify
from benchmarks.report.numbers import best_rules, routing, summary
from benchmarks.report.reading import analysis, load
from cat_keras.errors import CatKerasError
from tests import runs

TASKS = ("sst2", "embedded_translate")
ON_VALIDATION = {"settings": {"name": "run", "data": {"evaluate": "validation"}}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A grid of xent and one point of cat-xent on validation data; a run of both on test data, with a third method."""
    root = tmp_path_factory.mktemp("runs")
    points = ("xent@learning_rate=1", "xent@learning_rate=2", "cat-xent")
    validation = runs.full(root / "validation", TASKS, points, n=60, ids="validation", **ON_VALIDATION)
    return validation, runs.full(root / "test", TASKS, ("xent", "cat-xent", "dist"), n=60, seed=1, better=0.1)


@pytest.fixture(scope="module")
def table(folders):
    numbers = [summary.summarize(load.load(folder)) for folder in folders]
    return best_rules.rows(*numbers, {"validation": "v", "test": "t"})


def test_rules_are_chosen_on_validation_data_and_judged_on_test_data(folders, table):
    validation, test = (summary.summarize(load.load(folder)) for folder in folders)
    facts, standings = analysis.facts(table), {s.method: s for s in best_rules.standings(table)}
    assert list(standings) == ["xent", "cat-xent"]  # nobody chose for the third
    compared = {name: routing.compare(numbers).standings for name, numbers in (("v", validation), ("t", test))}
    for method, standing in standings.items():
        point = facts["points"][method]
        assert set(standing.rules) == {"classification", "generation"}
        kinds = {"classification": TASKS[:1], "generation": TASKS[1:]}
        best = [_quality(validation, point, standing.rules[kind], *tasks) for kind, tasks in kinds.items()]
        # By hand: no way of a router's table, whose areas are of both tasks, is better on validation data.
        ways = (routing.CASCADE, routing.LEARNED, routing.BOTH)
        assert np.mean(best) >= max(compared["v"][way, point].quality.estimate for way in ways) - 1e-12
        judged = [_quality(test, method, standing.rules[kind], *tasks) for kind, tasks in kinds.items()]
        assert standing.quality.estimate == pytest.approx(np.mean(judged))
        by_run_rule = compared["t"][routing.CASCADE, method].quality.estimate
        assert standing.worth.estimate == pytest.approx(np.mean(judged) - by_run_rule)
    plain, cat = standings["xent"], standings["cat-xent"]
    assert plain.gain is None and plain.gain_by_same is None
    assert cat.gain.estimate == pytest.approx(cat.quality.estimate - plain.quality.estimate)
    assert cat.gain.low < cat.gain.estimate < cat.gain.high
    assert facts["points"]["xent"].startswith("xent@") and facts["tasks"] == list(TASKS)


def _quality(numbers, method, rule, task):
    """Mean quality over all budgets by one rule, of one task and both seeds."""
    way = routing.CASCADE if rule == numbers.run.rule else rule
    keys = [(method, seed, task) for seed in (0, 1)]
    routes = routing.of_keys(numbers.run, task, keys)
    flops = routing.costs.known(numbers.run)[0]
    found = routing.judged(task, {key: numbers.cells[key] for key in keys}, routes, (way, routing.COIN), flops)
    return np.mean([found[key].areas[0, 0] for key in keys])


def test_what_is_tried_reads_one_model_alone(table):
    ways = analysis.facts(table)["ways"]
    assert "max-probability" in ways["classification"] and "max-probability" not in ways["generation"]
    for of_kind in ways.values():
        assert of_kind[0] == routing.CASCADE and of_kind[-1] == routing.BOTH and "learned-quality" in of_kind
        assert not {"seed-variance", "random", "oracle", "chow-average"} & set(of_kind)


def test_a_judgement_is_kept_and_verified(folders, tmp_path):
    validation, test = folders
    words = ["best-rules", str(validation), "--against", str(test), "--to", str(tmp_path / "kept")]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0 and "Every method by its best rules" in done.output, done.output
    assert not verify.verify(tmp_path / "kept").problems
    assert "learned-diff-01" in (tmp_path / "kept" / "table.md").read_text(encoding="utf-8")
    assert b"secret" not in (tmp_path / "kept" / "best-rules.parquet").read_bytes()
    # Kept runs say the same, since they have the scores of routers.
    of_kept = [keep.keep(folder, tmp_path / folder.name) for folder in folders]
    numbers = [summary.summarize(load.load(folder)) for folder in of_kept]
    again = best_rules.standings(best_rules.rows(*numbers, {}))
    first = best_rules.standings(analyses.read_as("best-rules", tmp_path / "kept"))
    assert [s.rules for s in again] == [s.rules for s in first]
    assert again[1].gain == pytest.approx(first[1].gain, abs=1e-4)


def test_runs_that_share_nothing_are_refused(folders, tmp_path):
    validation, test = map(str, folders)
    other = runs.full(tmp_path / "other", ("cola",))
    without = runs.full(tmp_path / "without", TASKS, ("cat-xent",))
    grid = runs.full(tmp_path / "grid", TASKS, ("xent@w=1", "xent@w=2"))
    by_sum = runs.full(tmp_path / "by_sum", TASKS, rule="chow-sum")
    for chooser, judge, message in (
        (validation, by_sum, "runs that defer by chow-average and by chow-sum"),
        (validation, other, "which share no task"),
        (validation, without, r"xent among them\. .* and cat-xent"),
        (validation, grid, "One point of xent is judged"),
        (test, test, "validation"),
    ):
        with pytest.raises(CatKerasError, match=message):
            CliRunner().invoke(cli.app, ["best-rules", chooser, "--against", str(judge)], catch_exceptions=False)
