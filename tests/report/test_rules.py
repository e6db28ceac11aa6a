"""Deferral rules beside each other: metrics of a resample are those of its rows, and what is not compared is named."""

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.keeping import keep
from benchmarks.report.numbers import rule_resamples, rules, summary
from benchmarks.report.reading import load
from benchmarks.report.tables import render, rule_tables
from cat_keras.cascades import deferral
from cat_keras.cascades.deferral.learned import cross_fitted
from cat_keras.evaluation.confidence import auroc
from cat_keras.evaluation.curves import deferral_curve
from cat_keras.evaluation.grid import on_grid
from cat_keras.storage import store
from tests import runs

LEARNED = {"learned-quality", "learned-diff-01"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.full(tmp_path_factory.mktemp("rules"), ("multirc", "sst2", "xsum"), n=60)


@pytest.fixture(scope="module")
def numbers(folder):
    return summary.summarize(load.load(folder))


class Given:
    """A cell with two rules: `rule`, with the scores given, and the same backwards."""

    method, seed = "xent", 0

    def __init__(self, score, small, large):
        self.scores = {"rule": np.array(score, float), "backwards": -np.array(score, float)}
        self.small, self.large = ({"quality": np.array(q, float)} for q in (small, large))
        self.small_right, self.large_right = (np.array(q, float) > 0.5 for q in (small, large))

    def score(self, rule):
        return self.scores[rule]


answers = st.lists(
    st.tuples(st.integers(-2, 2), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3)), min_size=2, max_size=9
)


@settings(deadline=None, max_examples=50)
@given(answers)
def test_metrics_of_a_resample_are_those_of_the_repeated_rows(rows):
    score, small, large, counts = map(np.array, zip(*rows, strict=True))
    counts[0] += len(rows) - counts.sum()  # as many as there are rows
    if counts[0] < 0:
        counts = np.ones(len(rows), int)
    cell = Given(score, small, large)
    found = rule_resamples._Ranking(cell, ["rule", "backwards"])
    for rule in ("rule", "backwards"):
        values = found.metrics(counts[:, None].astype(np.float32))[0, found.places[rule]]
        again = np.repeat(np.arange(len(rows)), counts)
        ordered, right = cell.scores[rule][again], small[again] > 0.5
        useful = ~right & (large[again] > 0.5)
        expected = [
            deferral_curve(ordered, small[again], large[again]).audc,
            auroc(ordered, right),
            auroc(-ordered, useful),
        ]
        np.testing.assert_allclose(values, expected, atol=1e-9)


def test_the_values_on_the_data_are_those_of_the_report(numbers):
    kind = numbers.rules["all tasks"]
    for method in numbers.run.methods:
        row, found = numbers.row(method), kind.standings["chow-average", method]
        assert found.audc == row.audc and found.seeds == 2
        compared = {metric: found.compared[metric].own.estimate for metric in rules.METRICS}
        assert compared["audc"] == pytest.approx(row.audc.mean)
        assert compared["s_d"] == pytest.approx(row.s_d.mean)
        assert compared["auroc_small_right"] == pytest.approx(row.auroc.mean)
        assert compared["auroc_large_right_small_wrong"] == pytest.approx(row.measures["auroc_useful"].mean)
        assert kind.standings["random", method].compared["s_d"].own == (0, 0, 0)
        assert kind.standings["oracle", method].compared["s_d"].own == pytest.approx((1, 1, 1))
        for interval in (each for pair in found.compared.values() for each in pair):
            assert interval.low - 1e-9 <= interval.estimate <= interval.high + 1e-9
        assert found.compared["audc"].difference == (0, 0, 0)


def test_the_gain_of_a_method_by_the_run_s_rule_is_that_of_the_main_table(numbers):
    kind, method = numbers.rules["all tasks"], "cat-xent"
    gain, main = kind.standings["chow-average", method].gain, numbers.row(method).difference
    assert gain.estimate == pytest.approx(main.estimate)
    assert gain[1:] == pytest.approx(main[1:], abs=0.02)  # of fewer resamples
    # Random deferral knows nothing of scores: half of what the small model alone gained is left.
    alone = [numbers.row(m).quality[0].mean for m in (method, "xent")]
    assert kind.standings["random", method].gain.estimate == pytest.approx((alone[0] - alone[1]) / 2)
    assert all(kind.standings[rule, "xent"].gain is None for rule in kind.rules)


def test_every_rule_is_compared_where_it_can_be(numbers):
    assert {name: len(kind.tasks) for name, kind in numbers.rules.items()} == {
        "all tasks": 3, "classification": 2, "generation": 1,
    }  # fmt: skip
    everywhere, choice, generation = (set(kind.rules) for kind in numbers.rules.values())
    assert everywhere == generation
    assert choice - everywhere == {"max-probability", "margin", "entropy", "learned-diff-prob"}
    assert LEARNED | {"seed-variance", "random", "oracle"} < everywhere
    assert choice | {"token-entropy", "token-margin"} == set(rules.names(numbers.run))
    note = rule_tables.rules_table(numbers).notes[-1]
    assert note == "Not compared: token-entropy (no token_entropies); token-margin (no token_margins)."


def test_on_two_options_rules_of_options_are_one(numbers):
    kind = numbers.rules["classification"]  # of sst2 and multirc, which have two
    for method in numbers.run.methods:
        first, *others = (kind.standings[rule, method].compared for rule in ("max-probability", "margin", "entropy"))
        for other in others:
            assert first.keys() == other.keys()
            for measure in first:  # each rule has a scale of its own, on which the grid ties other answers
                np.testing.assert_allclose(first[measure], other[measure], atol=2e-3)


def test_what_a_run_cannot_compare_is_named(tmp_path):
    few = load.load(runs.full(tmp_path / "few", ("sst2",), seeds=(0,), n=10))
    assert rules.lacking(few, "learned-quality", ("sst2",)) == "a task has fewer than 50 examples"
    assert rules.lacking(few, "seed-variance", ("sst2",)) == "no ensemble_confidences"
    assert rules.lacking(few, "margin", ("sst2",)) == ""
    assert list(summary.summarize(few).rules) == ["all tasks"]
    text = load.load(runs.full(tmp_path / "text", ("xsum",), n=10))
    assert rules.lacking(text, "margin", ("xsum",)) == "no option_logprobs"


class Shortest(deferral.Rule):
    name = "shortest"
    needs = ("token_logprobs",)

    def score(self, columns):
        return -deferral.row_lengths(columns["token_logprobs"])


def test_a_rule_of_the_users_is_in_every_report(folder, monkeypatch):
    monkeypatch.setattr(deferral, "RULES", dict(deferral.RULES))
    deferral.register(Shortest())
    found = rule_tables.rule_records(summary.summarize(load.load(folder)))
    assert {(row["scope"], row["method"]) for row in found if row["rule"] == "shortest"} == {
        (kind, method) for kind in ("all tasks", "classification", "generation") for method in runs.METHODS
    }


def test_learned_rules_are_cross_fitted_on_the_task(numbers):
    cell = numbers.cells["xent", 0, "xsum"]
    columns = {name: cell.small[name] for name in ("id", "task", "token_logprobs", "option_logprobs")}
    columns |= {"quality_small": cell.small["quality"], "quality_large": cell.large["quality"]}
    rule = deferral.get("learned-diff-01")
    again = cross_fitted(deferral.get("learned-quality"), columns | {"unit": np.arange(60)}, by="unit")
    np.testing.assert_array_equal(cell.score("learned-quality"), on_grid(again))
    assert rule.bar == 0.5 != numbers.run.bars["xsum"]  # of graded quality
    assert not np.array_equal(cell.score("learned-diff-01"), cell.score("learned-quality"))
    # Two questions on one text are in one fold.
    assert numbers.run.units["multirc"].tolist() == [i - i % 2 for i in range(60)]
    assert numbers.run.units["sst2"].tolist() == list(range(60))


def test_kept_results_say_the_same(folder, numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "files", lambda run, drawn: {})
    kept = summary.summarize(load.load(keep.keep(folder, tmp_path / "kept")))
    one, other = (render.csv_bytes(rule_tables.rule_records(each)) for each in (numbers, kept))
    assert one == other


def test_tables(numbers):
    winners, gains, *others = rule_tables.every_table(numbers)
    assert winners.columns == ("method", "all tasks (3)", "classification (2)", "generation (1)")
    assert [row[0] for row in winners.rows] == list(runs.METHODS)
    best = numbers.rules["generation"].standings.items()
    for method, *_, cell in winners.rows:
        own = {rule: found.audc.mean for (rule, of), found in best if of == method}
        del own["random"], own["oracle"]
        assert cell.startswith(max(own, key=own.get))
    assert len(others) == 5 and all(len(table.columns) == 3 for table in others)
    auroc_table = others[2]
    assert "random" not in [row[0] for row in auroc_table.rows]
    assert {row[0] for row in others[0].rows} > {"random", "oracle, classification", "seed-variance, generation"}
    assert gains.columns == ("rule", "cat-xent") and [row[0] for row in gains.rows] == [
        row[0] for row in others[0].rows
    ]


def test_a_method_without_a_complete_seed_has_no_standing(tmp_path, numbers):
    run = numbers.run
    small = {key: cell for key, cell in run.small.items() if key[::2] != ("cat-xent", "xsum")}
    broken = summary.summarize(type(run)(**{**vars_of(run), "small": small}))
    assert {method for _, method in broken.rules["all tasks"].standings} == {"xent"}
    assert rule_tables.every_table(broken)[0].rows[1][1:] == ("–", "–", "–")
    assert broken.rules["all tasks"].lacks["seed-variance"] == "no ensemble_confidences"


def vars_of(run):
    return {name: getattr(run, name) for name in run.__dataclass_fields__}


def test_the_probability_of_the_right_option(folder, numbers):
    examples, cell = list(numbers.run.examples["multirc"]), numbers.cells["xent", 1, "multirc"]
    shares = {
        model: [
            np.exp(row[e.options.index(e.target)]) / np.exp(row).sum()
            for row, e in zip(answers["option_logprobs"], examples, strict=True)
        ]
        for model, answers in (("small", cell.small), ("large", cell.large))
    }
    columns = {name: cell.small[name] for name in ("id", "task", "token_logprobs", "option_logprobs")}
    columns |= {"unit": numbers.run.units["multirc"]} | {f"probability_{model}": p for model, p in shares.items()}
    expected = cross_fitted(deferral.get("learned-diff-prob"), columns, by="unit")
    np.testing.assert_allclose(cell.score("learned-diff-prob"), expected, atol=2.0**-16)


def test_early_kept_results_do_not_know_the_right_option(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "files", lambda run, drawn: {})
    path = keep.keep(folder, tmp_path / "kept") / "examples.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns(["answer"]), path)
    manifest = store.read_manifest(path.parent / "manifest.json")
    store.write_manifest(path.parent / "manifest.json", manifest | {"files": {}})
    why = rules.lacking(load.load(path.parent), "learned-diff-prob", ("sst2",))
    assert why == "no probability_small, probability_large"
