"""Forecasts: what a regression that is known gives for tasks, and how far what was found agrees."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.keeping import analyses, verify
from benchmarks.report.numbers import forecasting, summary
from benchmarks.report.numbers.sweep import FEATURES
from benchmarks.report.reading import analysis, live_tokens, load
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs
from tests.report.test_sweep_numbers import invented

TASKS = ("sst2", "embedded_translate", "cb", "trivia_qa")
SWEEP = invented((0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6))


@pytest.fixture
def validation(tmp_path):
    """A run on validation data that knows the live tokens of one task."""
    training = {f"{method}/{seed}": {"live": 0.6 + seed / 10} for method in runs.METHODS for seed in (0, 1)}
    settings = {"name": "run", "data": {"evaluate": "validation"}}
    folder = runs.full(tmp_path / "validation", TASKS, ids="validation", training=training, settings=settings)
    parts = [
        {"task": "cb", "group": group, "tokens": 10, "live": live} for group, live in (("a", [2, 4]), ("b", [8, 8]))
    ]
    store.write_json(folder / live_tokens.FILE, {"parts": parts})
    return folder


@pytest.fixture
def test(tmp_path):
    return runs.full(tmp_path / "test", TASKS[:3], seed=1)


def measured(folder):
    return forecasting.features(summary.summarize(load.on_validation(folder)), live_tokens.shares(folder))


def test_features_are_those_of_the_map(validation):
    found = measured(validation)
    assert set(found) == set(TASKS)
    assert found["cb"]["live"] == pytest.approx((3 + 8) / 20)
    assert found["sst2"]["live"] == pytest.approx(0.65)  # of the run
    run = load.load(validation)
    small = np.mean([run.small["xent", seed, "sst2"]["quality"].mean() for seed in (0, 1)])
    assert found["sst2"]["headroom"] == pytest.approx(run.large["sst2"]["quality"].mean() - small)


def test_a_rule_gives_what_the_regression_says():
    standing = forecasting.standing(SWEEP)
    rule = forecasting.rule(standing)
    table = np.array([[1, *(place.measured[name] for name in FEATURES)] for place in standing.places])
    found = np.array([place.samples["audc"][0] for place in standing.places])
    expected = np.linalg.lstsq(table, found, rcond=None)[0]
    np.testing.assert_allclose([values[0] for values in rule.values()], expected, rtol=1e-6)
    slopes = {
        s.predictor: s.interval.estimate
        for s in standing.slopes
        if (s.response, s.model) == ("audc", " + ".join(FEATURES))
    }
    assert slopes == pytest.approx({name: values[0] for name, values in rule.items()})
    features = {"headroom": 0.1, "live": 0.8, "auroc": 0.7}
    assert forecasting.expected(rule, features)[0] == pytest.approx(expected @ [1, 0.1, 0.8, 0.7], rel=1e-6)


def test_a_sweep_of_few_points_gives_no_rule():
    with pytest.raises(CatKerasError, match=r"regression of cat-xent minus xent .* Received: invented"):
        forecasting.standing(invented((0.0, 0.2, 0.4)))


def test_features_outside_of_the_sweep_are_named():
    standing = forecasting.standing(SWEEP)
    inside = dict(standing.places[2].measured)
    measured = {"in": inside, "low": inside | {"live": 0.1}, "high": inside | {"auroc": 0.99, "live": 0.2}}
    assert forecasting.beyond(standing, measured) == {"live": ["low", "high"], "auroc": ["high"]}
    assert forecasting.beyond(standing, {"in": inside}) == {}


def forecast(task, expected, found):
    draws = np.random.default_rng(len(task)).normal(0, 1e-3, (2, 201))
    draws[:, 0] = 0
    return forecasting.Forecast(task, {}, expected + draws[0], found + draws[1])


def test_agreement_by_hand():
    same = forecasting.Judgement([forecast("t" * (i + 1), x, 2 * x) for i, x in enumerate((-0.2, -0.1, 0.1, 0.3, 0.5))])
    for interval in (same.correlation, same.correlation_of_these):
        assert interval == pytest.approx((1, 1, 1))
    assert same.signs == 1
    mixed = forecasting.Judgement([forecast("a", -0.1, 0.1), forecast("bb", 0.2, 0.2), forecast("ccc", 0.3, 0.15)])
    assert mixed.correlation.estimate == pytest.approx(0.5) and mixed.signs == pytest.approx(2 / 3)
    assert mixed.correlation_of_these == pytest.approx((0.5, 0.5, 0.5))
    assert mixed.correlation.low == pytest.approx(-1) and mixed.correlation.high == pytest.approx(1)  # of three tasks


def test_a_judgement_is_kept_and_verified(validation, test, tmp_path):
    kept = tmp_path / "kept"
    analyses.keep(SWEEP, "sweep", kept / "map")
    words = ["forecast", str(kept / "map"), str(validation)]
    alone = CliRunner().invoke(cli.app, words)
    assert alone.exit_code == 0 and "trivia_qa" in alone.output and "found" not in alone.output, alone.output
    done = CliRunner().invoke(cli.app, [*words, "--against", str(test), "--to", str(kept / "judged")])
    assert done.exit_code == 0 and "The sign came true on" in " ".join(done.output.split()), done.output
    rows = analyses.read_as("forecast", kept / "judged")
    judged = forecasting.judge(rows)
    # The run on test data lacks the fourth task; of another no answer is right.
    assert {f.task for f in judged.forecasts} == {"sst2", "cb"}
    assert analysis.facts(rows)["undefined"] == ["embedded_translate"]
    assert "Outside of what the points of the sweep have" in (kept / "judged" / "table.md").read_text()
    numbers = summary.summarize(load.load(test))
    for each in judged.forecasts:
        assert each.found[0] == pytest.approx(numbers.intervals.versus("cat-xent", "xent", (each.task,))[0].estimate)
    assert set(analysis.facts(rows)["measured"]["cb"]) == set(FEATURES)
    assert not verify.verify(kept / "judged").problems


def test_what_cannot_be_judged_is_refused(validation, test, tmp_path):
    kept = analyses.keep(SWEEP, "sweep", tmp_path / "map")

    def refused(*words):
        with pytest.raises(CatKerasError) as caught:
            CliRunner().invoke(cli.app, ["forecast", str(kept), *map(str, words)], catch_exceptions=False)
        return str(caught.value)

    assert "Add --against RUN" in refused(validation, "--to", tmp_path / "kept")
    assert "which answered the test split" in refused(test)
    grid = runs.full(tmp_path / "grid", TASKS, methods=("xent", "cat-xent@w=1", "cat-xent@w=2"))
    assert "none is chosen on test data. Received: " in refused(validation, "--against", grid)
    other = runs.full(tmp_path / "other", ("cola",))
    assert "judged on tasks of both runs" in refused(validation, "--against", other)
    silent = runs.full(tmp_path / "silent", TASKS, settings={"data": {"evaluate": "validation"}})
    assert "which notes none" in refused(silent)
