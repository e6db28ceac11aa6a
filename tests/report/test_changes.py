"""What methods change: numbers by hand, the main table's to the last digit, and resamples that are the exact sweep."""

import csv
import io
import math

import numpy as np
import pyarrow.parquet
import pytest

from benchmarks.report.numbers import resampled_curves, scopes, summary
from benchmarks.report.numbers.changes import POINTS, Changes, _interval, _towards, differences
from benchmarks.report.numbers.resampled_curves import Sampled
from benchmarks.report.reading import load
from benchmarks.report.tables import change_tables, main_tables, render
from cat_keras.evaluation.bootstrap import draw_seeds
from cat_keras.evaluation.curves import Outcomes, macro_average, oracle_audc
from cat_keras.evaluation.tradeoff import DeferralCurve
from tests import runs
from tests.report.test_report import hand, write

ROWS = np.random.default_rng(5)


def changes_of(folder) -> Changes:
    numbers = summary.summarize(load.load(folder))
    return Changes(numbers, scopes.averages(numbers))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Four methods, two seeds, four tasks of two suites."""
    names = ("sst2", "cola", "embedded_translate", "xsum")
    methods = ("xent", "cat-xent", "cat-dist", "gatekeeper")
    return changes_of(runs.full(tmp_path_factory.mktemp("changes"), names, methods, n=20))


def sampled(*rows) -> Sampled:
    """Curves of quality over costs 1, 2, 3, …"""
    quality = np.array(rows, dtype=float)
    k = quality.shape[1]
    return Sampled(np.linspace(0, 1, k), quality, np.tile(np.arange(1.0, k + 1), (len(rows), 1)), np.zeros(len(rows)))


def test_by_hand():
    # Costs 1 to 5. The baseline has .6 at half of the queries for 3; the other one at cost 2, and .7 for 3.
    base, own = sampled([0.4, 0.5, 0.6, 0.7, 0.8]), sampled([0.4, 0.6, 0.7, 0.75, 0.8])
    expected = {"s_d": 0, "small": 0, "quality_25": 0.1, "cost": 2 / 3 - 1, "quality_same_cost": 0.1}
    # Half of 3 is 1.5: on the way from .4 to .6.
    expected["quality_half_cost"] = 0.5 - 0.6
    assert {name: value.tolist() for name, value in differences(own, base).items()} == {
        name: [pytest.approx(value, abs=1e-8)] for name, value in expected.items()
    }


def test_a_method_against_itself():
    rows = sampled(*np.sort(ROWS.random((50, 9)), axis=1))
    for name, value in differences(rows, rows).items():
        assert (value < 0).any() if name == "quality_half_cost" else not value.any(), name


def test_targets_that_are_not_reached():
    base = sampled([0.4, 0.5, 0.6, 0.7, 0.8])
    found = differences(sampled([0.3, 0.4, 0.5, 0.55, 0.58]), base)
    assert math.isnan(found["cost"][0]) and found["quality_same_cost"][0] == pytest.approx(-0.1)
    low = np.linspace(-0.2, 0.2, 1000)
    assert _interval(0.0, low, np.inf, 99) == (0.0, *np.quantile(low, (0.025, 0.975)), pytest.approx(1), 0)
    some = np.append(low, [np.nan] * 10)
    assert _interval(0.0, some, np.inf, 99)[2] < 0.2 and _interval(0.0, some, np.inf, 99)[4] == 10
    many = np.append(low, [np.nan] * 100)
    estimate, bottom, top, p, unreached = _interval(0.1, many, np.inf, 99)
    assert (estimate, top, unreached) == (0.1, np.inf, 100) and -0.2 < bottom < -0.1 and p < 1
    assert _interval(0.1, many, -np.inf, 99)[1] == -np.inf
    assert _interval(0.1, many, np.nan, 99)[1:3] == _interval(0.1, low, np.nan, 99)[1:3]
    assert _interval(math.nan, np.full(5, np.nan), np.inf, 99)[1:] == (np.inf, np.inf, pytest.approx(1 / 3), 5)
    assert all(map(math.isnan, _interval(math.nan, np.full(5, np.nan), math.nan, 99)[:4]))


@pytest.mark.parametrize("k", [2, 3, 10, 60])
def test_reading_many_curves_is_reading_each(k):
    rate = np.linspace(0, 1, k)
    quality = ROWS.random((200, k)).round(2) if k < 60 else np.cumsum(ROWS.normal(0.01, 0.05, (200, k)), axis=1)
    quality -= quality.min()
    cost = 1 + np.cumsum(ROWS.uniform(0.1, 1, (200, k)), axis=1)
    rows = Sampled(rate, quality, cost, np.zeros(200))
    each = [DeferralCurve(rate, q, c, np.full(k, np.nan)) for q, c in zip(quality, cost, strict=True)]
    for wanted in (ROWS.uniform(quality.min(), quality.max(), 200), quality[:, -1], quality.max(axis=1), quality[:, 0]):
        expected = [curve.cost_at_quality(q) for curve, q in zip(each, wanted, strict=True)]
        np.testing.assert_allclose(rows.cost_at_quality(wanted), expected, rtol=1e-9, atol=1e-12)
    for budget in (ROWS.uniform(0, 2 * k, 200), cost[:, 0], cost[:, -1], cost[:, k // 2]):
        expected = [curve.quality_at_cost(c) for curve, c in zip(each, budget, strict=True)]
        np.testing.assert_allclose(rows.quality_at_cost(budget), expected, rtol=1e-9, atol=1e-12)
    for share in (0, 0.25, 0.5, 0.77, 1):
        expected = [curve.quality_at(share) for curve in each]
        np.testing.assert_allclose(rows.at(quality, share), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize("n", [7, 40])
def test_a_resample_is_the_sweep_over_the_repeated_rows(n, levels):
    score = ROWS.normal(size=n) if levels is None else ROWS.integers(levels, size=n).astype(float)
    columns = score, ROWS.random(n).round(1), ROWS.random(n).round(1), ROWS.uniform(1, 2, n), ROWS.uniform(9, 10, n)
    own = Outcomes(*columns)
    rate = np.unique(np.concatenate([np.arange(n + 1) / n, np.linspace(0, 1, 11)]))
    drawn = ROWS.multinomial(n, np.full(n, 1 / n), size=20).astype(float)
    for at in (np.arange(n + 1) / n, rate):
        found = resampled_curves._CurveSweep([own], at)(drawn.T.astype(np.float32), np.ones((20, 1)))
        for row, counts in zip(found, drawn.astype(int), strict=True):
            repeated = Outcomes(*(np.repeat(column, counts) for column in columns))
            curve = repeated.curve()
            oracle = oracle_audc(repeated.quality_small, repeated.quality_large)
            cost = np.interp(at, curve.deferral_rate, curve.cost)
            expected = [*curve.quality_at(at), *cost, curve.audc, curve.random_audc, oracle]
            np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-12)
            assert resampled_curves._s_d(row[-3:]) == pytest.approx(curve.s_d(oracle), nan_ok=True)


def test_resamples_are_those_of_the_main_table(found):
    """The same examples and seeds, so that changes of one method belong together."""
    numbers = found.summary
    tasks = numbers.run.covered
    own = resampled_curves.resampled(numbers.run, numbers.cells, "cat-xent", (0, 1), {"all": tasks, "one": tasks[:1]})
    pooled = numbers.intervals._pooled(["cat-xent"], (0, 1), tasks)
    area = np.trapezoid(own["all"].quality, own["all"].rate, axis=1)
    np.testing.assert_allclose(area, pooled.samples()[: resampled_curves.RESAMPLES, 0], rtol=1e-10)
    assert own["one"].quality.shape == own["all"].quality.shape == (resampled_curves.RESAMPLES, 21)
    assert np.isfinite(own["all"].s_d).all()
    many = draw_seeds(np.random.default_rng(1), 3, 100)
    np.testing.assert_array_equal(draw_seeds(np.random.default_rng(1), 3, 10), many[:10])


def test_estimates_are_those_of_the_main_table(found):
    numbers = found.summary
    base, own = numbers.row("xent"), numbers.row("cat-xent")
    change = {measure: found.versus_baseline["all", "cat-xent", measure] for measure in ("s_d", "small", "quality_25")}
    assert change["s_d"].estimate == pytest.approx(own.s_d.mean - base.s_d.mean, abs=1e-12)
    assert change["small"].estimate == pytest.approx(own.quality[0].mean - base.quality[0].mean, abs=1e-12)
    assert change["quality_25"].estimate == pytest.approx(own.quality[1].mean - base.quality[1].mean, abs=1e-12)
    cost = found.versus_baseline["all", "cat-xent", "cost"]
    assert cost.estimate == pytest.approx(own.cost.mean / base.cost.mean - 1, abs=1e-8)
    audc = found.versus_baseline["all", "cat-xent", "audc"]
    assert (audc.estimate, audc.low, audc.high) == own.difference and audc.p == own.p_value
    (line, *_) = change_tables.changes_table(found).rows
    assert line[0] == "cat-xent" and line[2] == main_tables.difference(own)
    for scope in found.scopes:
        row = numbers.only(scope.tasks).row("cat-xent")
        of_scope = found.versus_baseline[scope.name, "cat-xent", "audc"]
        assert (of_scope.estimate, of_scope.low, of_scope.high) == row.difference
    for change in found.versus_baseline.values():
        assert change.low <= change.high and 0 < change.p <= 1


def test_against_the_other_methods(found):
    table = change_tables.others_table(found)
    assert table.columns == ("method", "cat-xent", "cat-dist")
    assert [row[0] for row in table.rows] == ["cat-xent", "cat-dist", "gatekeeper"]
    assert table.rows[0][1] == "" and table.rows[1][2] == ""
    one, other = found.versus_others["cat-xent", "cat-dist"], found.versus_others["cat-dist", "cat-xent"]
    assert one.estimate == -other.estimate and one.low == pytest.approx(-other.high) and one.p == other.p
    pair = sorted(c.p for (method, _), c in found.versus_others.items() if method == "cat-xent")
    holm = sorted(c.p_holm for (method, _), c in found.versus_others.items() if method == "cat-xent")
    assert holm[0] == min(1, 2 * pair[0]) and ("cat-xent", "xent") not in found.versus_others


def test_no_rivals_no_table(tmp_path):
    changes = changes_of(hand(tmp_path))
    assert change_tables.others_table(changes) is None
    assert change_tables.changes_table(changes_of(hand(tmp_path / "one", methods=("xent",)))) is None


def test_by_hand_in_a_run(tmp_path):
    """`dist` has the answers of xent in the oracle's order: AUDC .84375 against .71875 on sst2, .5 each on cola."""
    changes = changes_of(hand(tmp_path))
    measures = ("s_d", "audc", "small", "quality_25")
    of = {measure: changes.versus_baseline["all", "dist", measure].estimate for measure in measures}
    # xent: (.609375 − .5625) of (.671875 − .5625).
    assert of == {"s_d": pytest.approx(1 - 3 / 7), "audc": pytest.approx(0.0625), "small": 0, "quality_25": 0}


def test_seeds_that_are_missing(tmp_path):
    gone = lambda row: (row["method"], row["seed"], row["task"]) == ("dist", 1, "cola")  # noqa: E731
    part, whole = changes_of(hand(tmp_path / "part", gone, seeds=(0, 1))), changes_of(hand(tmp_path / "whole"))
    found, expected = (each.versus_baseline["all", "dist", "cost"] for each in (part, whole))
    assert (found.seeds, found[6:]) == (1, pytest.approx(expected[6:], nan_ok=True))
    assert change_tables.changes_table(part).rows[0][0] == "dist †"
    none = changes_of(hand(tmp_path / "none", lambda row: row["method"] == "dist" and row["task"] == "cola"))
    assert ("all", "dist", "cost") not in none.versus_baseline
    assert set(change_tables.changes_table(none).rows[0][1:]) == {"–"}
    assert change_tables.headline_table(none).rows[1] == ("dist †", "–", "–", "–", "–")
    large = changes_of(hand(tmp_path / "large", lambda row: row["model"] == "large"))
    assert change_tables.every_table(large) and not large.records()


def test_a_quality_that_is_not_always_reached_and_costs_that_are_none(tmp_path):
    """On sst2 xent has .75 at 50 % deferral, as the large model alone, and `dist` here is always wrong."""
    folder = hand(tmp_path, tasks=["sst2"])
    path = folder / "predictions.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows = [row | ({"quality": 0.0} if row["method"] == "dist" else {}) for row in rows]
    write(path, rows)
    changes = changes_of(folder)
    found = changes.versus_baseline["all", "dist", "cost"]
    assert found.estimate > 0 and found.high == np.inf and 25 < found.unreached < 1000
    table = change_tables.changes_table(changes)
    assert table.rows[0][5].endswith("+∞]") and f"dist {found.unreached} of 1,000" in table.notes[1]
    # A large model that is right only once.
    write(path, [row | ({"quality": float(row["id"] == "e1")} if row["model"] == "large" else {}) for row in rows])
    assert change_tables.changes_table(changes_of(folder)).rows[0][5].startswith("not reached [")
    write(path, [row | {"flops": 0.0} for row in rows])
    assert math.isnan(changes_of(folder).versus_baseline["all", "dist", "cost"].estimate)


def test_the_way_to_the_oracle(found):
    own, ideal = sampled([0.4, 0.5, 0.6, 0.7, 0.8]), sampled([0.4, 0.7, 0.8, 0.8, 0.8])
    moved = _towards(own, ideal, 3)
    np.testing.assert_allclose(moved.quality[:, 1], [0.5, 0.6, 0.7])
    assert moved.s_d.tolist() == [0, 0.5, 1]
    half, more = found.needed("xent")
    row = found.summary.row("xent")
    assert row.s_d.mean < more < 1 and half > row.s_d.mean
    # At the s_d named the gain is just there.
    ideal = macro_average({s: _oracle(found, s) for s in (0, 1)}, (0, 1))
    base = found._exact("xent", (0, 1), found.scopes[0])
    share = (more - row.s_d.mean) / (1 - row.s_d.mean)
    moved = _towards(base, Sampled.one(ideal))
    gain = differences(moved, base)["quality_same_cost"]
    assert gain[round(1000 * share)] >= POINTS > gain[round(1000 * share) - 1]


def _oracle(found, seed):
    run, cells = found.summary.run, found.summary.cells
    return macro_average({n: cells["xent", seed, n].curve("oracle") for n in run.covered}, run.covered)


def test_records(found):
    rows = list(csv.DictReader(io.StringIO(render.csv_bytes(found.records()).decode())))
    assert list(rows[0]) == [
        *("method", "baseline", "scope", "tasks", "seeds", "measure", "estimate", "low", "high"),
        *("p", "p_holm", "resamples_unreached"),
    ]
    measures = {row["measure"] for row in rows if (row["method"], row["scope"]) == ("cat-dist", "all")}
    assert measures == {"audc", *differences(sampled([0, 1]), sampled([0, 1]))}
    assert {row["measure"] for row in rows if row["method"] == "xent"} == {"quality_half_cost"}
    assert {row["scope"] for row in rows} == {scope.name for scope in found.scopes}
    against = [row for row in rows if row["baseline"] == "gatekeeper"]
    assert [row["method"] for row in against] == ["cat-xent", "cat-dist"] and all(row["p_holm"] for row in against)
