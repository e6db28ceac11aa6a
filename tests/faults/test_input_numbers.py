"""Scores, qualities and costs that are no numbers, or the last ones that anybody expects."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import strategies as st

from cat_keras.cascades import calibration, deferral, guarantee
from cat_keras.data.records import Example, Prediction
from cat_keras.decoding import speculative
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import bands, bootstrap, confidence, curves, significance
from tests.faults import cases, strange

ODD = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e-320, None, "x", "0.5", True, 10**400, 1j, [], -1.0)
numbers = st.one_of(st.sampled_from([0.0, 1.0, 0.5, -1.5]), st.floats(-3, 3), st.sampled_from([0.0, 1.0]))
odd = st.one_of(numbers, numbers, numbers, st.sampled_from(ODD))
floats = odd.filter(lambda value: isinstance(value, float))


@st.composite
def columns(draw, *names):
    """Columns of one length, of which some hold what they should not, and sometimes one of another length or kind."""
    n = draw(st.sampled_from([0, 1, 1, 2, 3, 5]))
    found = {}
    for name in names:
        entries = odd if draw(st.integers(0, 3)) == 0 else st.sampled_from([0.0, 0.5, 1.0])
        found[name] = draw(st.lists(entries, min_size=n, max_size=n))
        kind = draw(st.integers(0, 40))
        if kind < 3:
            found[name] = [found[name][:-1], [found[name]], None][kind]
        elif kind < 10:
            found[name] = np.array(found[name], object)
    return found


def finite(value) -> bool:
    return bool(np.isfinite(np.asarray(value, np.float64)).all())


@pytest.mark.parametrize("n", cases(80, 2000))
def test_curves(n):
    found = 0

    def check(data):
        nonlocal found
        given = data.draw(columns("score", "quality_small", "quality_large"))
        costs = {"cost_small": data.draw(odd), "cost_large": data.draw(odd)} if data.draw(st.booleans()) else {}
        curve = strange.result_or_error(curves.deferral_curve, **given, **costs)
        if curve is None:
            return
        found += 1
        for column in (curve.deferral_rate, curve.quality, curve.cost, curve.audc, curve.random_audc, curve.peak):
            assert finite(column)
        assert not np.isnan(curve.threshold).any()
        assert curve.deferral_rate[0] == 0 and curve.deferral_rate[-1] == 1
        low, high = (
            side(np.concatenate([np.float64(given["quality_small"]), np.float64(given["quality_large"])]))
            for side in (np.min, np.max)
        )
        slack = 1e-6 * max(1, abs(low), abs(high))
        assert low - slack <= curve.quality.min() and curve.quality.max() <= high + slack
        for read in ("relative_audc", "apgr", "qnc"):
            assert not np.isinf(getattr(curve, read))
        ideal = strange.result_or_error(curves.oracle_audc, given["quality_small"], given["quality_large"])
        assert math.isnan(curve.s_d(ideal)) or abs(curve.s_d(ideal)) <= 1 + 1e-6
        for argument in (data.draw(floats), 0.5):
            for name in ("cpt", "quality_at", "cost_at_quality", "quality_at_cost"):
                strange.result_or_error(getattr(curve, name), argument)

    strange.prove(check, n, data=st.data())
    assert found > n / 20


@pytest.mark.parametrize("n", cases(20, 500))
def test_intervals(n):
    def check(data):
        outcomes = {}
        for task in ("a", "b")[: data.draw(st.integers(0, 2))]:
            given = data.draw(columns("score", "quality_small", "quality_large"))
            ids = data.draw(st.sampled_from([None, range(10), ["x", "x", "y"], ["é", "\ud800", "\0", "", "b", "c"]]))
            ids = None if ids is None or given["score"] is None else list(ids)[: len(given["score"])]
            made = strange.result_or_error(curves.Outcomes, **given, ids=ids)
            if made is not None:
                outcomes[task] = {"one": made, "two": made}
        rng, resamples = np.random.default_rng(0), data.draw(st.sampled_from([0, 1, 20, -1]))
        result = strange.result_or_error(bootstrap.bootstrap_audc, outcomes, rng, resamples, threads=1)
        if result is not None:
            level = data.draw(st.sampled_from([0.95, 0, 1, -1, float("nan")]))
            interval = strange.result_or_error(result.interval, "one", "two", level=level)
            assert interval is None or (finite(interval) and interval == (0, 0, 0))
            assert result.p_value("one", "two") == 1
        drawn = strange.result_or_error(bands.bootstrap_bands, outcomes, rng, resamples=resamples, threads=1)
        if drawn is not None:
            assert all(
                finite(getattr(drawn["all"]["one"], name))
                for name in ("estimate", "low", "high", "all_low", "all_high")
            )

    strange.prove(check, n, data=st.data())


@pytest.mark.parametrize("n", cases(80, 1500))
def test_confidence_and_significance(n):
    right, kept, qualities = ("confidence", "right"), ("score", "loss"), ("quality_small", "quality_large")
    measures = {
        confidence.auroc: ("score", "positive"), confidence.ece: right, confidence.brier: right,
        confidence.density_overlap: right, confidence.aurc: kept, confidence.augrc: kept,
        confidence.mass_table: ("small_right", "large_right"), curves.capped_ideal_audc: qualities,
        curves.oracle_audc: qualities, significance.holm: ("p_values",),
        significance.benjamini_hochberg: ("p_values",), significance.two_sided: ("samples",),
    }  # fmt: skip

    def check(data, measure):
        given = data.draw(columns(*measures[measure]))
        value = strange.result_or_error(measure, **given)
        if value is not None:
            assert not np.isinf(np.asarray(value, float)).any()
            if measure is not curves.oracle_audc:
                assert ((np.isnan(value)) | ((np.asarray(value) >= -1e-9) & (np.asarray(value) <= 1 + 1e-9))).all()

    strange.prove(check, n, data=st.data(), measure=st.sampled_from(list(measures)))


RULES = [*deferral.RULES, "learned-quality", "learned-diff-01", "learned-diff-prob", "chow-quantile-0.3"]


@pytest.mark.parametrize("n", cases(60, 1500))
def test_rules(n):
    """Columns as lists, arrays or a mixture; a score per row, all finite, or one error."""
    ragged = st.lists(odd, max_size=3)

    def check(data, name):
        n = data.draw(st.sampled_from([0, 1, 2, 12]))
        one = data.draw(st.one_of(ragged, st.just([-0.5, -1.0])))
        table = {"id": list(map(str, range(n))), "task": ["t"] * n}
        for column in ("token_logprobs", "option_logprobs", "token_entropies", "token_margins", "ensemble_confidences"):
            rows = [list(one) for _ in range(n)]
            if n and data.draw(st.booleans()):
                rows[0] = data.draw(st.one_of(ragged, st.sampled_from([None, 3.0, "text"])))
            table[column] = (
                [np.array(row) for row in rows]
                if data.draw(st.integers(0, 5)) == 0 and all(map(is_row, rows))
                else rows
            )
        for column in ("quality_small", "quality_large", "probability_small", "probability_large"):
            table[column] = data.draw(st.lists(odd, min_size=n, max_size=n))
        if data.draw(st.integers(0, 5)) == 0:
            table.pop(data.draw(st.sampled_from(list(table))))
        rule = deferral.get(name)
        if rule.needs_fit:
            rule = strange.result_or_error(rule.fit, table)
            table = table | {"id": [f"other-{i}" for i in range(n)]}
        scores = rule and strange.result_or_error(rule, table)
        assert scores is None or (scores.shape == (n,) and finite(scores))

    strange.prove(check, n, data=st.data(), name=st.sampled_from(RULES))


def is_row(row) -> bool:
    return isinstance(row, list) and all(isinstance(x, float) for x in row)


def prediction(i, logprobs, text="yes", flops=1.0):
    return Prediction(str(i), "t", text, tuple(logprobs), (), 3, len(logprobs), flops, 0.1)


@pytest.mark.parametrize("n", cases(40, 700))
def test_calibration(n):
    """Thresholds of two and of three models, from answers, qualities and costs that may be anything."""
    found = 0

    def check(data, stages, limit, promise, rule):
        nonlocal found
        n = data.draw(st.sampled_from([0, 1, 2, 5, 40, 40, 40]))
        examples = strange.result_or_error(
            calibration.shuffled,
            [Example(str(i), "p", data.draw(st.sampled_from(["yes", "no"])), "t") for i in range(n)],
        )
        if examples is None:
            return
        odd_row, odd_cost, odd_quality = (
            data.draw(odd) if data.draw(st.integers(0, 3)) == 0 else 0.5 for _ in range(3)
        )
        answers = [[prediction(i, [-0.1 * (i % 7)] * (i % 3)) for i in range(n)] for _ in range(stages)]
        answers[0][0] = prediction(0, [odd_row])
        asked = strange.result_or_error(
            lambda: (guarantee.Guarantee(*promise) if promise else None, calibration.check_limit(promise, **limit))
        )
        if asked is None:
            return
        judge = data.draw(st.sampled_from([None, lambda text, example: odd_quality]))
        chosen = strange.result_or_error(
            calibration.calibrate,
            deferral.get(rule),
            examples,
            answers,
            asked[1],
            asked[0],
            judge,
            lambda answer, stage: odd_cost,
        )
        if chosen is not None:
            found += 1
            thresholds = chosen[1].thresholds
            assert len(thresholds) == stages - 1 and not np.isnan(thresholds).any()
            assert finite(chosen[1].cost) and finite(chosen[1].deferral) and finite(chosen[1].alone_cost)

    names, within = st.sampled_from(["max_cost", "min_quality", "max_deferral"]), st.sampled_from([0.0, 0.5, 1.0, 1e9])
    limits = st.one_of(
        *[st.builds(lambda name, value: {name: value}, names, within)] * 3, st.dictionaries(names, floats, max_size=2)
    )
    promises = st.one_of(
        *[st.none()] * 4,
        st.tuples(st.sampled_from([0.3, 0.9, 0, 1, float("nan"), 1e308]), st.sampled_from([0.1, 0, 1, -0.5])),
    )
    rules = st.sampled_from(["chow-average", "chow-sum", "random", "learned-quality"])
    strange.prove(
        check, n, data=st.data(), stages=st.sampled_from([2, 2, 3]), limit=limits, promise=promises, rule=rules
    )
    assert found > n / 30


# -- values that are known ---------------------------------------------------------------------------------------------


def test_a_single_example():
    curve = curves.deferral_curve([0.3], [0], [1])
    assert curve.audc == 0.5 and curve.quality.tolist() == [0, 1] and curve.s_d(0.5) != curve.s_d(0.5)
    assert curve.threshold.tolist() == [-np.inf, np.inf]
    outcomes = {"t": {"m": curves.Outcomes([0.3], [0], [1], ids=["a"])}}
    assert bootstrap.bootstrap_audc(outcomes, np.random.default_rng(0), 50).interval("m") == (0.5, 0.5, 0.5)


def test_all_ties_are_deferred_together():
    small, large = [0, 1, 0, 0], [1, 1, 1, 0]
    curve = curves.deferral_curve([7.0] * 4, small, large)
    assert curve.deferral_rate.tolist() == [0, 1] and curve.quality.tolist() == [0.25, 0.75] and curve.audc == 0.5
    assert curve.audc == curve.random_audc and curve.s_d(curves.oracle_audc(small, large)) == 0
    assert confidence.auroc([7.0] * 4, small) == 0.5


def test_never_and_always_deferred():
    """Where the models agree nothing is gained at any rate, and where only one is right, everything at once."""
    for quality in ([0, 0, 0], [1, 1, 1], [0, 1, 0]):
        curve = curves.deferral_curve([1, 2, 3], quality, quality)
        assert (
            np.allclose(curve.quality, np.mean(quality))
            and math.isnan(curve.apgr)
            and math.isnan(curve.s_d(curves.oracle_audc(quality, quality)))
        )
    always = curves.deferral_curve([1, 2, 3], [0, 0, 0], [1, 1, 1])
    assert always.quality.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1]) and always.apgr == pytest.approx(0.5)
    never = curves.deferral_curve([1, 2, 3], [1, 1, 1], [0, 0, 0])
    assert never.peak == 1 and never.cost_at_quality(1.0) == 0 and math.isnan(never.apgr)


def test_empty_classes():
    assert math.isnan(confidence.auroc([0.1, 0.2], [1, 1])) and math.isnan(confidence.auroc([0.1, 0.2], [0, 0]))
    assert math.isnan(confidence.density_overlap([0.1, 0.2, 0.3], [1, 1, 1]))
    assert confidence.ece([1.0, 1.0], [1, 1]) == 0 and confidence.mass_table([0, 0], [0, 0]) == (0, 0, 0, 1)
    for empty in ([], np.zeros(0), np.zeros((0, 2))):
        with pytest.raises(CatKerasError, match="at least one example"):
            curves.deferral_curve(empty, [0], [1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_and_named(bad):
    for column in range(3):
        given = [[0.5, 0.5], [0, 1], [1, 1]]
        given[column] = [0.5, bad]
        with pytest.raises(CatKerasError, match=r"must be finite; received -?(nan|inf) in row 1"):
            curves.deferral_curve(*given)
    with pytest.raises(CatKerasError, match=r"rule 'chow-average' gave -?(nan|inf) for example '1'"):
        deferral.get("chow-average")([prediction(0, [-1.0]), prediction(1, [bad])])
    with pytest.raises(CatKerasError, match="must be finite"):
        confidence.auroc([bad, 0.0], [0, 1])
    assert strange.result_or_error(speculative.check, "token-v1", bad) is None


def test_numbers_too_large_to_add():
    """Finite numbers whose sum is not: refused, and no curve of infinities."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CatKerasError, match="cost_large"):
            curves.deferral_curve([1, 2, 3], [0, 0, 0], [1, 1, 1], cost_large=[1e308] * 3)
