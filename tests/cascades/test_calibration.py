"""What calibration chooses, on invented answers: no model is needed to know what is best."""

import itertools
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cat_keras.cascades import calibration, deferral
from cat_keras.cascades.calibration import calibrate, check_limit, exact_match, shuffled
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.cascades.playback import Stages, common_path, grid, threshold
from cat_keras.data.records import Example, Prediction
from cat_keras.errors import CatKerasError

INF = float("inf")
RULE = deferral.get("chow-average")


def invented(n, stages=2, seed=0, references=True):
    """Examples, and answers of models that cost 1, 10, 100 …: the surer, the more often right; the larger, too."""
    rng = np.random.default_rng(seed)
    examples = shuffled([Example(f"{i}", f"Question {i}\n", "right" if references else "") for i in range(n)])
    sure = rng.random((stages, n))
    right = rng.random((stages, n)) < 0.3 + 0.15 * np.arange(stages)[:, None] + 0.4 * sure
    return examples, [
        [
            Prediction(e.id, e.task, "right" if r else "wrong", (float(np.log(s)),), flops=10.0**stage)
            for e, s, r in zip(examples, sure[stage], right[stage], strict=True)
        ]
        for stage in range(stages)
    ]


def chosen(data, limit, guarantee=None, rule=RULE, **arguments):
    return calibrate(rule, *data, limit, guarantee, **arguments)[1]


def played(data, thresholds, quality=exact_match):
    """Mean cost and quality of the cascade, example by example, and the share that each stage passes on."""
    examples, predictions = data
    cost = good = 0.0
    seen = np.zeros(len(predictions))
    for i, example in enumerate(examples):
        for stage, row in enumerate(predictions):
            seen[stage] += 1
            cost += row[i].flops
            if stage == len(thresholds) or RULE([row[i]])[0] >= thresholds[stage]:
                good += quality(row[i].text, example)
                break
    return cost / len(examples), good / len(examples), seen[1:] / np.maximum(seen[:-1], 1)


# -- playing through -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_points_are_what_the_cascade_would_do(stages):
    data = invented(30, stages)
    found = chosen(data, {"max_cost": 10.0 ** (stages - 1) / 2})
    cost, quality, passed = played(data, found.thresholds)
    assert (found.cost, found.quality) == (pytest.approx(cost), pytest.approx(quality))
    assert found.deferral == pytest.approx(passed)
    assert found.alone_cost == tuple(10.0**s for s in range(stages))
    assert found.alone_quality == pytest.approx([np.mean([p.text == "right" for p in row]) for row in data[1]])
    assert (found.examples, found.fitted, found.guarantee) == (30, 0, {})


def test_many_candidates_are_played_in_parts():
    rng = np.random.default_rng(0)
    outcomes = Stages(rng.random((1, 3000)), rng.random((2, 3000)), np.ones((2, 3000)))
    thresholds = rng.random((1500, 1))
    assert len(list(outcomes.play(thresholds))) > 1
    whole = outcomes.points(thresholds)
    assert whole.deferral[-1] == (outcomes.scores < thresholds[-1]).mean()
    np.testing.assert_allclose(whole.cost, 1 + whole.deferral[:, 0])


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.floats(0, 1))
def test_threshold_is_the_largest_that_keeps_the_share(scores, rate):
    scores = np.array(scores, float)
    found = threshold(scores, rate)
    allowed = rate * len(scores) + 1e-9
    assert (scores < found).sum() <= allowed
    if found == INF:
        assert allowed >= len(scores)
    else:
        higher = scores[scores >= found].min()
        assert (scores <= higher).sum() > allowed  # a threshold beyond the next score defers too many
        lower = scores[scores < found]
        assert found == ((lower.max() + higher) / 2 if len(lower) else -INF)  # as far as can be from both


def test_a_grid_of_one_stage_is_every_cascade():
    assert grid(np.array([[3.0, 1.0, 2.0, 2.0]]))[:, 0].tolist() == [-INF, 1.5, 2.5, INF]
    three = grid(np.random.default_rng(0).random((2, 1000)))
    assert len(three) <= 20_000 and len(np.unique(three[:, 0])) == 141
    assert {tuple(row) for row in three} >= set(itertools.product((-INF, INF), repeat=2))


@given(st.integers(1, 3), st.integers(1, 12), st.integers(0, 99))
def test_a_common_path_goes_from_never_to_always(stages, n, seed):
    scores = np.random.default_rng(seed).integers(0, 6, (stages, n)).astype(float)
    path = common_path(scores, 10)
    assert (path[0] == -INF).all() and (path[-1] == INF).all()
    points = Stages(scores, np.zeros((stages + 1, n)), np.ones((stages + 1, n))).points(path)
    assert (points.deferral <= np.arange(11)[:, None] / 10 + 1e-9).all()


# -- choosing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_of_two_models_the_choice_is_the_best_there_is(seed):
    data = invented(25, seed=seed)
    every = [played(data, [t]) for t in (-INF, *(np.unique(RULE(data[1][0]))), INF)]
    best = max(quality for cost, quality, _ in every if cost <= 5)
    assert chosen(data, {"max_cost": 5.0}).quality == pytest.approx(best)
    assert chosen(data, {"max_deferral": 0.4}).quality == pytest.approx(best)  # 1 + 10 · 0.4 = 5
    cheapest = min(cost for cost, quality, _ in every if quality >= 0.6)
    assert chosen(data, {"min_quality": 0.6}).cost == pytest.approx(cheapest)


def test_of_equal_quality_the_cheapest_is_taken():
    examples, predictions = invented(20)
    same = [[Prediction(p.id, "", "right", p.token_logprobs, flops=p.flops) for p in row] for row in predictions]
    assert chosen((examples, same), {"max_cost": 100.0}).thresholds == (-INF,)


def test_without_references_the_limit_is_spent():
    data = invented(40, 3, references=False)
    found = chosen(data, {"max_deferral": 0.5})
    assert found.deferral == (0.5, 0.5)
    assert found.quality is found.alone_quality is None
    spent = chosen(data, {"max_cost": 50.0})
    assert 40 < spent.cost <= 50
    assert chosen(data, {"max_deferral": 0.0}).thresholds == (-INF, -INF)
    assert chosen(data, {"max_deferral": 1.0}).thresholds == (INF, INF)


def test_ties_are_kept_together():
    examples, predictions = invented(20, references=False)
    tied = [[Prediction(p.id, "", p.text, (-1.0,), flops=p.flops) for p in row] for row in predictions]
    assert chosen((examples, tied), {"max_deferral": 0.5}).deferral == (0.0,)


def test_cost_and_quality_are_the_users():
    data = invented(40)
    price = chosen(data, {"max_cost": 0.2}, cost=lambda p, stage: (0.1, 0.3)[stage] * len(p.token_logprobs))
    assert price.alone_cost == pytest.approx((0.1, 0.3))
    assert 0.1 <= price.cost <= 0.2 + 1e-9
    inverse = chosen(data, {"min_quality": 0.5}, quality=lambda text, example: 0.9 * (text != example.target))
    assert inverse.alone_quality == pytest.approx([0.9 * (1 - q) for q in price.alone_quality])


def test_an_exact_match_is_any_reference_but_for_space():
    example = Example("0", "?", "a", references=("a", "b c"))
    assert [exact_match(text, example) for text in ("a", " b c\n", "A", "")] == [1, 1, 0, 0]


def test_neither_the_order_nor_company_of_examples_matters():
    examples, _ = invented(40)
    assert shuffled(examples[::-1]) == examples != sorted(examples, key=lambda e: int(e.id))
    kept = [e for e in examples if e.id != "7"]
    assert shuffled(kept) == kept


def test_examples_of_equal_content_are_in_one_part_and_named():
    """Of 40 questions each is asked three times, under ids that lie anywhere."""
    repeated = [Example(f"{i}", f"Question {i % 40}\n", "right") for i in range(120)]
    examples = shuffled(repeated)
    assert sorted(e.id for e in examples) == sorted(e.id for e in repeated)
    for learns, promises in ((True, False), (False, True), (True, True)):
        parts = [examples[part] for part in calibration._parts(examples, learns, promises)]
        assert [e for part in parts for e in part] == examples
        asked = [{e.prompt for e in part} for part in parts]
        assert sum(map(len, asked)) == 40
    one = [Example(f"{i}", "Always this\n", "right") for i in range(40)]
    with pytest.raises(CatKerasError, match="too few different ones"):
        calibration._parts(one, True, False)


# -- rules that learn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["learned-quality", "learned-diff-01-mlp"])
def test_a_learned_rule_is_fitted_on_other_examples_than_thresholds_are_chosen_on(name):
    data = invented(120, 3)
    rules, found = calibrate(deferral.get(name), *data, {"max_cost": 40.0})
    assert (found.examples, found.fitted) == (60, 60)
    assert len(rules) == 2 and rules[0] != rules[1], "one for each stage"
    for rule, row in zip(rules, data[1], strict=False):
        with pytest.raises(CatKerasError, match="60 of 60 it was fitted on"):
            rule(row[:60])
        assert len(rule(row[60:])) == 60


def test_a_rule_that_predicts_probabilities_gets_those_of_the_references():
    rng = np.random.default_rng(0)
    examples = shuffled([Example(f"{i}", f"{i}?\n", "ab"[i % 2], options=("a", "b")) for i in range(40)])
    rows = [
        [
            Prediction(e.id, "", "ab"[int(np.argmax(o))], (float(o.max()),), tuple(o), flops=10.0**stage)
            for e in examples
            for o in [np.log(rng.dirichlet((1, 1)))]
        ]
        for stage in range(2)
    ]
    rules, found = calibrate(deferral.get("learned-diff-prob"), examples, rows, {"max_deferral": 0.5})
    assert found.fitted == 20 and np.isfinite(rules[0](rows[0][20:])).all()
    free = [Example(e.id, e.prompt, e.target) for e in examples]
    with pytest.raises(CatKerasError, match="diff-prob is for classification"):
        calibrate(deferral.get("learned-diff-prob"), free, rows, {"max_deferral": 0.5})


# -- promises --------------------------------------------------------------------------------------------------------


def test_a_guarantee_takes_the_cheapest_that_keeps_it():
    data = invented(600)
    found = chosen(data, {}, Guarantee(0.1, 0.1))
    assert (found.examples, found.fitted) == (480, 120)
    assert found.alone_quality[1] - found.quality <= 0.1
    assert 0 < found.deferral[0] < 1
    assert found.guarantee == asdict(Guarantee(0.1, 0.1))
    stricter = chosen(data, {}, Guarantee(0.06, 0.1))
    assert stricter.deferral[0] > found.deferral[0]
    both = chosen(data, {"min_quality": found.quality + 0.02}, Guarantee(0.1, 0.1))
    assert both.quality >= found.quality + 0.02


def test_the_promise_holds_over_draws_of_the_calibration_examples():
    """From the examples to the threshold; `test_guarantee` has the tests of the promise alone, on more draws."""
    expected_loss, broken = [], 0
    for seed in range(250):
        found = chosen(invented(120, seed=seed), {}, Guarantee(0.1, 0.1))
        # The large model is right with 0.45 + 0.4 / 2, the small one with 0.3 + 0.4 s where its probability s is kept.
        t = np.exp(min(found.thresholds[0], 0))
        expected_loss.append(0.35 * (1 - t) - 0.2 * (1 - t**2))
        broken += expected_loss[-1] > 0.1
    assert broken / 250 <= 0.1 + 3 * np.sqrt(0.09 / 250)
    assert np.mean(expected_loss) > 0.01, "always deferring keeps it too"


def test_the_cost_can_be_promised_without_references():
    found = chosen(invented(600, references=False), {}, Guarantee(6.0, 0.1, "cost", bound=11.0))
    assert 5 < found.cost < 6


def test_a_guarantee_of_three_stages_and_of_a_learned_rule():
    found = chosen(invented(600, 3), {}, Guarantee(0.15, 0.1, "loss"), deferral.get("learned-quality"))
    assert (found.examples, found.fitted) == (240, 360)
    assert found.alone_quality[2] - found.quality <= 0.15


@pytest.mark.parametrize(
    ("guarantee", "limit", "message"),
    [
        (
            Guarantee(0.01, 0.1),
            {},
            r"mean loss within 0.01 .* 0.9 .*32 examples .*even always .* than 0\.\d+\. Take",
        ),
        (Guarantee(0.1, 0.1, "risk"), {}, "mean risk within 0.1 .* even always deferring promises no less than"),
        (Guarantee(1.0, 0.1, "cost", bound=11.0), {}, "even never deferring promises no less than"),
        (Guarantee(0.5, 0.1), {"max_cost": 0.5}, "reaches max_cost=0.5 .* and keeps the guarantee. The best is 1"),
    ],
)
def test_a_promise_that_nothing_keeps_says_so(guarantee, limit, message):
    with pytest.raises(CatKerasError, match=message):
        chosen(invented(40), limit, guarantee)


# -- errors ----------------------------------------------------------------------------------------------------------


class _Nan(deferral.Rule):
    name, needs = "nan", ("token_logprobs",)

    def score(self, columns):
        return np.full(len(columns["id"]), np.nan)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: check_limit(None, max_cost=None, min_quality=None), "exactly one of max_cost, min_quality.*: none"),
        (lambda: check_limit(None, max_cost=1, min_quality=0.5), "Received: max_cost, min_quality"),
        (lambda: check_limit(None, max_deferral=1.5), r"max_deferral is a number in \[0, 1\]. Received: 1.5"),
        (lambda: check_limit(None, max_cost=-1), r"max_cost is a number in \[0, inf\). Received: -1"),
        (lambda: check_limit(None, max_cost=INF), "Received: inf"),
        (lambda: check_limit(None, min_quality=float("nan")), "Received: nan"),
        (lambda: shuffled([]), "at least one example. Received: none"),
        (lambda: shuffled([Example("0", "a", "b"), Example("0", "c", "d")]), "2 examples, 1 ids"),
        (lambda: chosen(invented(9), {"max_cost": 0.5}), "max_cost=0.5 on the calibration examples. The best is 1"),
        (lambda: chosen(invented(9), {"min_quality": 1.0}), r"min_quality=1 .* The best is 0\."),
        (lambda: chosen(invented(9, references=False), {"min_quality": 0.5}), "need references"),
        (lambda: chosen(invented(99, references=False), {}, Guarantee(0.1, 0.1)), "need references"),
        (lambda: chosen(invented(9), {"max_cost": 5}, quality=lambda t, e: 3.0), r"quality must be in \[0, 1\]"),
        (lambda: chosen(invented(9), {"max_cost": 5}, cost=lambda p, s: float("nan")), "cost must be finite"),
        (lambda: chosen(invented(9), {"max_cost": 5}, rule=_Nan()), "rule 'nan' gave nan for example"),
        (lambda: chosen(invented(3), {"max_cost": 5}, rule=deferral.get("learned-quality")), "3 examples, too few"),
        (lambda: chosen(invented(4), {}, Guarantee(0.9, 0.9)), "4 examples, too few"),
    ],
)
def test_calibrations_that_cannot_be(make, message):
    with pytest.raises(CatKerasError, match=message):
        make()


def test_some_references_missing_is_an_error():
    examples, predictions = invented(9)
    examples[3] = Example(examples[3].id, "?", "")
    with pytest.raises(CatKerasError, match=f"1 of 9 without, e.g. /{examples[3].id}"):
        chosen((examples, predictions), {"max_cost": 5.0})


def test_digests_tell_tasks_apart():
    assert calibration.digest(Example("0", "", "", "a")) != calibration.digest(Example("0", "", "", "b"))
