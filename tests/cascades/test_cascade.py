"""A cascade at run time: who answers, what it costs, and that it is calibrated on other queries than it serves."""

import numpy as np
import pytest

from cat_keras.cascades import deferral
from cat_keras.cascades.cascade import Cascade
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

SETTINGS = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16}
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
        three.thresholds, three.calibrated_on = list(thresholds), frozenset()
        return three(examples)

    return run


@pytest.fixture
def two(three):
    """A cascade of the last two stages, with no thresholds yet."""
    cascade = Cascade.__new__(Cascade)
    cascade.predictors, cascade.rule, cascade.rules = three.predictors[1:], three.rule, three.rules[1:]
    cascade.thresholds, cascade.calibrated_on, cascade.calibration = None, frozenset(), None
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
        for paid in ("flops", "n_prompt", "n_answer"):
            spent = sum(getattr(p, paid) for p in by_stage[: a.stage + 1])
            assert getattr(a, paid) == pytest.approx(spent, rel=1e-6)
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


def test_models_may_have_different_tokenizers(three, examples):
    from cat_keras.modeling import models

    proto = models.train_tokenizer([e.prompt[::-1] for e in examples], 310)
    foreign = models.build(proto, layers=1, width=16, heads=1, feedforward=16)
    cascade = Cascade([foreign, three.predictors[1].model], thresholds=[INF], **SETTINGS)
    classified = [cascade.predictors[1]([e])[0] for e in examples[:2]]
    assert [a.text for a in cascade(examples[:2])] == [p.text for p in classified]


def reworded(examples):
    """Examples of other content than these."""
    return [Example(e.id, f"Now: {e.prompt}", e.target, e.task, e.options) for e in examples]


def test_a_rule_gets_the_measures_that_it_reads(stages, examples):
    cascade = Cascade(stages[1:], rule="learned-quality-embedding", **SETTINGS)
    many = [Example(f"{e.id}-{i}", e.prompt, e.target, e.task) for i in range(2) for e in examples[20:]]
    cascade.calibrate(many, max_deferral=0.5)
    assert {a.stage for a in cascade(reworded(examples[20:]))} <= {0, 1}
    assert all(len(p.embedding) == 16 for p in cascade.predictors[0](examples[20:22]))


# -- thresholds ------------------------------------------------------------------------------------------------------


def unlabelled(examples):
    return [Example(e.id, e.prompt, "", e.task, e.options) for e in examples]


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_calibration_defers_the_share_it_was_told(two, examples, rate):
    found = two.calibrate(unlabelled(examples), max_deferral=rate)
    assert two.calibration is found and two.thresholds == list(found.thresholds)
    scores = two.rule(two.predictors[0](examples))
    deferred = sum(a.stage for a in two._answer(examples))
    below = {
        0,
        len(scores),
        *np.searchsorted(np.sort(scores), np.unique(scores)).tolist(),
    }  # equal scores stay together
    assert deferred == max(count for count in below if count <= rate * len(examples))
    assert found.deferral == (deferred / len(examples),) and found.quality is None


@pytest.mark.slow
@pytest.mark.parametrize("rate", [*(pytest.param(rate, marks=pytest.mark.long) for rate in (0.1, 0.6)), 0.3])
def test_decisions_do_not_depend_on_the_batch(two, stages, examples, rate):
    two.calibrate(unlabelled(examples), max_deferral=rate)
    expected = [answer.stage for answer in two._answer(examples)]
    assert sum(expected) <= rate * len(examples)
    for batch_size in (6, 1):
        other = Cascade(stages[1:], thresholds=two.thresholds, **SETTINGS | {"batch_size": batch_size})
        for step in (1, -1):
            assert [answer.stage for answer in other(examples[::step])] == expected[::step]


def test_content_that_was_calibrated_on_is_refused_under_another_id(two, examples):
    two.calibrate(unlabelled(examples[:10]), max_deferral=0.5)
    again = Example("new", examples[3].prompt, examples[3].target, "another task", examples[3].options)
    with pytest.raises(CatKerasError, match=r"1 that were calibrated on, e\.g\. another task/new"):
        two([examples[12], again])
    with pytest.raises(CatKerasError, match="calibrated on"):
        two([Example(examples[3].id, "Another prompt\n", "", examples[3].task)])
    two.calibrated_on = frozenset()
    assert len(two([again])) == 1


def test_what_calibration_says_is_what_the_cascade_then_does(three, alone, examples):
    found = three.calibrate(examples, max_cost=1.5 * np.mean([p.flops for p in alone[0]]))
    three.calibrated_on = frozenset()
    answers = three(examples)
    assert found.cost == pytest.approx(np.mean([a.flops for a in answers]))
    assert found.cost <= 1.5 * found.alone_cost[0]
    assert found.quality == np.mean([a.text in e.references for a, e in zip(answers, examples, strict=True)])
    stages = np.array([a.stage for a in answers])
    assert found.deferral[0] == (stages > 0).mean()


def test_calibration_that_fails_leaves_the_cascade_as_it_was(three, examples):
    before = three.calibrate(examples[:10], max_deferral=0.5)
    with pytest.raises(CatKerasError, match="The best is"):
        three.calibrate(examples, min_quality=1.0)
    assert three.calibration is before and three.thresholds == list(before.thresholds)
    assert len(three(examples[10:12])) == 2


def test_a_rule_that_learns_is_fitted_for_each_stage(three, examples):
    many = [Example(f"{e.id}-{i}", e.prompt, e.target, e.task, e.options) for i in range(2) for e in examples]
    ready, three.rule, three.rules = three.rules, deferral.get("learned-quality"), [deferral.get("learned-quality")] * 2
    three.calibrate(many, max_deferral=0.5)
    three.thresholds[1] = INF
    answers = three(reworded(examples))
    assert {a.stage for a in answers} >= {2} and {np.isnan(a.score) for a in answers if a.stage == 2} == {True}
    three.rule, three.rules = ready[0], ready


def test_calibration_and_test_are_disjoint(two, examples):
    two.calibrate(examples[:10], max_deferral=0.5)
    with pytest.raises(CatKerasError, match=r"Received: 2 that were calibrated on, e\.g\. parity/8"):
        two(examples[8:14])
    assert len(two(examples[10:20])) == 10
    # The same id in another task is another query: "0" is in `parity` and in `spell`.
    assert len(two(examples[20:22])) == 2


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, e: Cascade(m[:1]), "at least two models. Received: 1"),
        (lambda m, e: Cascade(m, thresholds=[0.5]), r"3 models has 2 thresholds.* Received: \[0.5\]"),
        (lambda m, e: Cascade(m, rule="chow-averag"), "did you mean chow-average"),
        (lambda m, e: Cascade(m)(e), "needs thresholds before it answers"),
        (lambda m, e: Cascade(m).generate(["Say:\n"]), "needs thresholds before it answers"),
        (
            lambda m, e: Cascade(m, thresholds=[0.5, float("nan")]),
            r"A threshold is a number in \[-inf, inf\]. Received: nan",
        ),
        (lambda m, e: Cascade(m, rule=len), "a deferral rule or its name. Received: <built-in function len>"),
        (lambda m, e: Cascade(m).calibrate(e), "exactly one of max_cost, min_quality, max_deferral"),
        (lambda m, e: Cascade(m).calibrate(e, max_deferral=1.5), r"\[0, 1\]. Received: 1.5"),
        (lambda m, e: Cascade(m).calibrate([], max_deferral=0.5), "at least one example. Received: none"),
        (lambda m, e: Cascade(m).calibrate(e, guarantee=(0.1, 2.0)), r"delta of a guarantee .*Received: 2.0"),
        (lambda m, e: Cascade(m).calibrate(e, guarantee=0.1), r"\(alpha, delta\) or a Guarantee. Received: 0.1"),
    ],
)
def test_cascades_that_cannot_be(stages, examples, make, message):
    with pytest.raises(CatKerasError, match=message):
        make(stages, examples)
