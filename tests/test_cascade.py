"""A cascade at run time: who answers, what it costs, and that it is calibrated on other queries than it serves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cat_keras import deferral
from cat_keras.cascade import Cascade, _threshold
from cat_keras.errors import CatKerasError

SETTINGS = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16, "buckets": 1}
INF = float("inf")


@pytest.fixture(scope="module")
def stages(trained, small, large):
    return [small, trained, large]


@pytest.fixture(scope="module")
def three(stages):
    """A cascade of three; tests set its thresholds, so that nothing is compiled again."""
    return Cascade(stages, thresholds=(0.0, 0.0), **SETTINGS)


@pytest.fixture(scope="module")
def alone(three, examples):
    """Predictions of every stage on every example."""
    return [p(examples) for p in three.predictors]


@pytest.fixture
def answer(three):
    """A function: answers of the three-stage cascade at some thresholds."""

    def run(examples, *thresholds):
        three.thresholds, three._calibrated_on = list(thresholds), frozenset()
        return three(examples)

    return run


@pytest.fixture
def two(three):
    """A cascade of the last two stages, with no thresholds yet."""
    cascade = Cascade.__new__(Cascade)
    cascade.predictors, cascade.rule = three.predictors[1:], three.rule
    cascade.thresholds, cascade._calibrated_on = None, frozenset()
    return cascade


# -- who answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("thresholds", "stage"), [((-INF, -INF), 0), ((INF, -INF), 1), ((INF, INF), 2)])
def test_never_and_always_defer(answer, alone, examples, thresholds, stage):
    answers = answer(examples, *thresholds)
    assert [a.stage for a in answers] == [stage] * len(examples)
    assert [(a.id, a.text) for a in answers] == [(p.id, p.text) for p in alone[stage]]


def test_each_query_goes_as_far_as_its_scores_say(answer, three, alone, examples):
    scores = [three.rule(p) for p in alone]
    first = float(np.median(scores[0]))
    thresholds = [first, float(np.median(scores[1][scores[0] < first]))]
    answers = answer(examples, *thresholds)
    for i, a in enumerate(answers):
        stage = 0 if scores[0][i] >= thresholds[0] else 1 if scores[1][i] >= thresholds[1] else 2
        assert (a.id, a.stage, a.text) == (examples[i].id, stage, alone[stage][i].text)
        assert a.score == pytest.approx(scores[stage][i], abs=1e-4)
    assert {a.stage for a in answers} == {0, 1, 2}


def test_every_stage_reached_is_paid_for(answer, three, alone, examples):
    cut = float(np.median(three.rule(alone[0])))
    for a, *by_stage in zip(answer(examples, cut, cut), *alone, strict=True):
        assert a.flops == pytest.approx(sum(p.flops for p in by_stage[: a.stage + 1]), rel=1e-6)
        assert a.seconds > 0


def test_a_score_equal_to_the_threshold_keeps(answer, three, alone, examples):
    scores = three.rule(alone[0])
    top = float(scores.max())
    answers = answer(examples, top, -INF)
    kept = [i for i, a in enumerate(answers) if a.stage == 0]
    assert kept == np.flatnonzero(scores >= top).tolist() != []


def test_generate_and_classify_take_plain_text(answer, three, alone, examples):
    free, choice = examples[20:24], examples[:4]
    answer(examples[:1], -INF, -INF)
    assert [a.text for a in three.generate([e.prompt for e in free])] == [p.text for p in alone[0][20:24]]
    answers = three.classify([e.prompt for e in choice], ["yes", "surely not"])
    assert [a.text for a in answers] == [p.text for p in alone[0][:4]]
    assert [a.id for a in answers] == [f"query-{i}" for i in range(4)]
    assert three.generate([]) == []


def test_any_rule_decides(three, alone, stages, examples):
    for name in ("chow-sum", "chow-quantile-0.1", "random"):
        cascade = Cascade(stages, rule=name, thresholds=(0.0, 0.0), **SETTINGS)
        assert cascade.rule is deferral.get(name) or cascade.rule == deferral.get(name)
        cascade.predictors = three.predictors
        scores = cascade.rule(alone[0])
        cascade.thresholds = [float(np.median(scores)), -INF]
        stage = np.array([a.stage for a in cascade(examples)])
        np.testing.assert_array_equal(stage, (scores < cascade.thresholds[0]).astype(int))


# -- thresholds ------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.floats(0, 1))
def test_threshold_is_the_largest_that_keeps_the_share(scores, rate):
    scores = np.array(scores, float)
    threshold = _threshold(scores, rate)
    allowed = rate * len(scores) + 1e-9
    assert (scores < threshold).sum() <= allowed
    if threshold < INF:
        assert (scores < np.nextafter(threshold, INF)).sum() > allowed  # any larger one defers too many
    else:
        assert allowed >= len(scores)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_calibration_defers_the_share_it_was_told(two, examples, rate):
    assert two.calibrate(examples, rate) is two
    scores = two.rule(two.predictors[0](examples))
    assert len(set(scores)) == len(scores), "ties would keep more than the share"
    assert sum(a.stage for a in two._answer(examples)) == rate * len(examples)


def test_calibration_of_several_stages_sees_what_reaches_them(three, alone, examples):
    three.calibrate(examples, 0.5)
    scores = [three.rule(p) for p in alone[:2]]
    first = _threshold(scores[0], 0.5)
    second = _threshold(scores[1][scores[0] < first], 0.5)
    np.testing.assert_allclose(three.thresholds, [first, second], atol=1e-4)


def test_calibration_and_test_are_disjoint(two, examples):
    two.calibrate(examples[:10], 0.5)
    with pytest.raises(CatKerasError, match=r"Received: 2 that were calibrated on, e\.g\. parity/8"):
        two(examples[8:14])
    assert len(two(examples[10:20])) == 10
    # The same id in another task is another query: "0" is in `parity` and in `spell`.
    assert len(two(examples[20:22])) == 2


def test_calibration_may_leave_no_query_to_the_next_stage(three, examples):
    three.calibrate(examples[:4], 0.0)
    assert three.thresholds[1] == INF
    assert len(three(examples[4:6])) == 2


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, e: Cascade(m[:1]), "at least two models. Received: 1"),
        (lambda m, e: Cascade(m, thresholds=[0.5]), r"3 models has 2 thresholds. Received: \[0.5\]"),
        (lambda m, e: Cascade(m, rule="chow-averag"), "did you mean chow-average"),
        (lambda m, e: Cascade(m)(e), "needs thresholds before it answers"),
        (lambda m, e: Cascade(m).generate(["Say:\n"]), "needs thresholds before it answers"),
        (lambda m, e: Cascade(m).calibrate(e, 1.5), r"\[0, 1\]. Received: 1.5"),
        (lambda m, e: Cascade(m).calibrate([], 0.5), "at least one example. Received: none"),
    ],
)
def test_cascades_that_cannot_be(stages, examples, make, message):
    with pytest.raises(CatKerasError, match=message):
        make(stages, examples)
