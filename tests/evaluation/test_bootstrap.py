"""Intervals: weights against repeated rows, pairing, and spreads that are known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import bootstrap, resampling, sweep
from cat_keras.evaluation.curves import Outcomes

quality = st.floats(0, 1).map(lambda q: round(q, 3))
rows = st.lists(st.tuples(st.integers(-4, 4), quality, quality), min_size=1)


@settings(max_examples=80, deadline=None)
@given(st.data(), rows)
def test_weighted_area_equals_the_area_on_repeated_rows(data, rows):
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    counts[0] += 1
    once, repeated = Outcomes(*np.array(rows).T), Outcomes(*np.repeat(np.array(rows), counts, axis=0).T)
    weighted = bootstrap.weighted_audc(once, np.stack([counts, np.ones_like(counts)]))
    np.testing.assert_allclose(weighted, [repeated.curve().audc, once.curve().audc], rtol=1e-12, atol=1e-13)


def bootstrap_input(seed=0, n=60):
    """Two tasks; `good` knows the gain, `noise` does not, `copy` is `noise` under another name and row order."""
    rng = np.random.default_rng(seed)
    by_task = {}
    for task in ("b", "a"):
        small, large = (rng.random(n) < 0.5) * 1.0, (rng.random(n) < 0.8) * 1.0
        ids = np.array([f"{task}{i}" for i in range(n)])
        noise, turn = rng.random(n), rng.permutation(n)
        by_task[task] = {
            "noise": Outcomes(noise, small, large, ids=ids),
            "good": Outcomes(small - large, small, large, ids=ids),
            "copy": Outcomes(noise[turn], small[turn], large[turn], ids=ids[turn]),
        }
    return by_task


def test_bootstrap_is_paired_and_shaped():
    data = bootstrap_input()
    result = bootstrap.bootstrap_audc(data, np.random.default_rng(5), resamples=200)
    assert result.tasks == ("a", "b")
    assert result.methods == ("copy", "good", "noise")
    assert result.samples().shape == (200, 3)
    assert result.task_samples.shape == (2, 200, 3)
    np.testing.assert_array_equal(result.samples()[:, 0], result.samples()[:, 2])
    assert result.interval("copy", versus="noise") == (0, 0, 0)
    better = result.interval("good", versus="noise")
    assert 0 < better.low < better.estimate < better.high
    expected = np.mean([data[task]["good"].curve().audc for task in data])
    assert result.interval("good").estimate == pytest.approx(expected)
    assert result.interval("good", task="a").estimate == pytest.approx(data["a"]["good"].curve().audc)


def test_bootstrap_repeats_itself_to_the_last_digit():
    data = bootstrap_input()
    again = {task: dict(reversed(data[task].items())) for task in reversed(data)}
    first, second = (bootstrap.bootstrap_audc(d, np.random.default_rng(5), resamples=50) for d in (data, again))
    np.testing.assert_array_equal(first.task_samples, second.task_samples)


def test_threads_and_other_tasks_and_more_resamples_change_no_number():
    data = bootstrap_input(n=5000)  # 13 examples per block: several blocks
    several = bootstrap.bootstrap_audc(data, np.random.default_rng(5), resamples=50, threads=3)
    alone = bootstrap.bootstrap_audc({"b": data["b"]}, np.random.default_rng(5), resamples=40, threads=1)
    np.testing.assert_array_equal(several.task_samples[1, :40], alone.task_samples[0])
    assert not np.array_equal(several.task_samples[0], several.task_samples[1])


def test_a_resample_draws_as_many_examples_as_there_are_each_as_often():
    counts = resampling.Streams(np.random.default_rng(0)).map("t", 50, 4000, np.transpose)
    assert counts.shape == (4000, 50)
    assert (counts.sum(axis=1) == 50).all()
    # Multinomial: mean 1, variance 1 − 1/n, covariance −1/n; standard errors are about 1/√4000 = .016.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(counts.var(axis=0), 0.98, atol=0.12)
    assert np.cov(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-0.02, abs=0.07)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_sweeps_of_any_length_with_and_without_ties(n):
    rng = np.random.default_rng(n)
    weights = rng.integers(0, 3, size=(5, n)).astype(float)
    weights[:, 0] += 1
    for score in (rng.random(n), rng.integers(4, size=n), np.where(rng.random(n) < 0.2, 0.5, rng.random(n))):
        data = Outcomes(score, rng.random(n), rng.random(n))
        columns = data.score, data.quality_small, data.quality_large
        repeated = [Outcomes(*(np.repeat(each, row.astype(int)) for each in columns)).curve().audc for row in weights]
        np.testing.assert_allclose(bootstrap.weighted_audc(data, weights), repeated, rtol=1e-11)


@pytest.mark.parametrize("n", [1, 8, 61])
@pytest.mark.parametrize("graded", [False, True])
def test_a_sweep_of_several_gains_is_the_plain_double_sum(n, graded):
    rng = np.random.default_rng(n)
    gain = rng.normal(size=(n, 3)) if graded else rng.integers(-1, 2, size=(n, 3)).astype(float)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=6).T.astype(np.float32)
    for score in (rng.random(n), rng.integers(3, size=n)):
        later = np.sign(np.subtract.outer(score, score)) / 2 + 0.5  # of j deferred after i: 1, or 1/2 in one group
        expected = np.einsum("ib,ik,ji,jb->kb", counts, gain, later, counts, dtype=np.float64, casting="same_kind")
        areas = sweep.Sweep(score, gain).areas(counts)
        (np.testing.assert_allclose if graded else np.testing.assert_array_equal)(areas, expected, **TOLERANCE[graded])


@pytest.mark.parametrize("levels", [None, 2, 30])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_curves_are_those_of_the_repeated_rows(n, levels):
    rng = np.random.default_rng(n)
    score = rng.random(n) if levels is None else rng.integers(levels, size=n)
    own = Outcomes(score, rng.random(n), rng.random(n), rng.uniform(1, 2, n), rng.uniform(9, 10, n))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=6)
    counts[0] = n * (np.arange(n) == n // 2)  # one example, and no other
    columns = counts.T.astype(np.float32)
    rate = np.array([0, 0.01, 0.5, 0.77, 1])
    gains = np.stack([own.quality_large - own.quality_small, own.cost_large], axis=1)
    alone = sweep.weighted_sums(np.stack([own.quality_small, own.cost_small], axis=1), columns) / n
    quality, cost = sweep.Sweep(own.score, gains).curves(columns, alone, rate)
    for r, row in enumerate(counts):
        fields = own.score, own.quality_small, own.quality_large, own.cost_small, own.cost_large
        repeated = Outcomes(*(np.repeat(field, row) for field in fields)).curve()
        np.testing.assert_allclose(quality[r], repeated.quality_at(rate), atol=1e-12)
        np.testing.assert_allclose(cost[r], np.interp(rate, repeated.deferral_rate, repeated.cost), atol=1e-12)


def test_an_auroc_follows_from_the_area_of_the_hits_found():
    score, hit = (
        np.array([0.1, 0.2, 0.2, 0.3, 0.4]),
        np.array([1, 0, 1, 1, 0]),
    )  # of six pairs 2 + 1.5 + 1 are in order
    ones = np.ones((5, 1), np.float32)
    areas = sweep.Sweep(score, hit).areas(ones)[0] / 25
    assert sweep.auroc(areas, np.array([0.6]))[0] == pytest.approx((2 + 1.5 + 1) / 6)
    assert np.isnan(sweep.auroc(areas, np.array([0.0]))) and np.isnan(sweep.auroc(areas, np.array([1.0])))


def test_without_a_folder_to_write_loops_are_compiled_in_each_process(monkeypatch):
    njit = sweep.numba.njit

    def without_a_place(loop, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(loop, **options)

    monkeypatch.setattr(sweep.numba, "njit", without_a_place)
    assert sweep.compiled(lambda x: x + 1)(2) == 3


TOLERANCE = {False: {}, True: {"rtol": 1e-12, "atol": 1e-9}}


def test_bootstrap_spread_is_that_of_the_mean():
    # With a constant score AUDC is the mean of (q_S + q_L)/2, whose standard error is known: σ/√n.
    rng = np.random.default_rng(2)
    small, large = rng.random(400), rng.random(400)
    data = {"t": {"flat": Outcomes(np.zeros(400), small, large, ids=np.arange(400))}}
    samples = bootstrap.bootstrap_audc(data, rng, resamples=2000).samples()
    assert samples.std() == pytest.approx(((small + large) / 2).std() / 20, rel=0.1)


def test_bootstrap_refuses_what_it_cannot_pair():
    data = bootstrap_input()
    rng = np.random.default_rng(0)
    with pytest.raises(CatKerasError, match="numpy Generator"):
        bootstrap.bootstrap_audc(data, 5)
    with pytest.raises(CatKerasError, match=r"'a' lacks \['good'\]"):
        bootstrap.bootstrap_audc({**data, "a": {k: v for k, v in data["a"].items() if k != "good"}}, rng)
    with pytest.raises(CatKerasError, match="differ in 120 ids"):
        bootstrap.bootstrap_audc({**data, "a": {**data["a"], "good": data["b"]["good"]}}, rng)
    with pytest.raises(CatKerasError, match="needs example ids"):
        bootstrap.bootstrap_audc({"t": {"m": Outcomes([1], [1], [1])}}, rng)
    with pytest.raises(CatKerasError, match="needs a task"):
        bootstrap.bootstrap_audc({}, rng)
    result = bootstrap.bootstrap_audc(data, rng, resamples=3)
    with pytest.raises(CatKerasError, match="Unknown method 'godo'; did you mean good"):
        result.interval("godo")
    with pytest.raises(CatKerasError, match="Unknown task"):
        result.interval("good", task="c")
    with pytest.raises(CatKerasError, match="level"):
        result.interval("good", level=95)


def seeds_apart(gap, copies=2):
    """One task; method `a` has seeds whose areas differ by `gap`, `b` is `a` plus 0.1 throughout."""
    n = 100
    ids = np.arange(n)
    models = {}
    for seed in range(copies):
        quality = np.full(n, 0.2 + gap * seed)
        models[f"a/{seed}"] = Outcomes(np.zeros(n), quality, quality, ids=ids)
        models[f"b/{seed}"] = Outcomes(np.zeros(n), quality + 0.1, quality + 0.1, ids=ids)
    first = bootstrap.bootstrap_audc({"t": models}, np.random.default_rng(0), resamples=2000)
    names = {method: [f"{method}/{seed}" for seed in range(copies)] for method in "ab"}
    return bootstrap.pool_seeds(first, names, np.random.default_rng(1))


def test_seeds_are_a_second_level_and_paired():
    pooled = seeds_apart(gap=0.4)
    assert pooled.methods == ("a", "b")
    assert pooled.interval("a").estimate == pytest.approx(0.4)
    # Examples do not vary here. Two seeds with variance s² = .08 have a mean with standard error √(s²/2) = .2.
    assert pooled.samples()[:, 0].std() == pytest.approx(0.2, rel=0.05)
    assert pooled.interval("b", versus="a") == pytest.approx((0.1, 0.1, 0.1))


def test_one_seed_has_nothing_to_draw():
    assert seeds_apart(gap=0.4, copies=1).interval("a") == pytest.approx((0.2, 0.2, 0.2))


def test_seeds_that_cannot_be_paired():
    first = bootstrap.bootstrap_audc(bootstrap_input(), np.random.default_rng(5), resamples=3)
    rng = np.random.default_rng(0)
    for seeds in ({"x": ["good", "noise"], "y": ["copy"]}, {"x": []}, {}):
        with pytest.raises(CatKerasError, match="same number of seeds"):
            bootstrap.pool_seeds(first, seeds, rng)
    with pytest.raises(CatKerasError, match="Unknown model 'nois'; did you mean noise"):
        bootstrap.pool_seeds(first, {"x": ["nois"]}, rng)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_spread_between_seeds_enters_in_full(seeds):
    values = np.random.default_rng(seeds).random(seeds)
    means = bootstrap.draw_seeds(np.random.default_rng(0), seeds, 20_000) @ values
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.05)


def test_p_values_agree_with_the_intervals():
    result = bootstrap.bootstrap_audc(bootstrap_input(), np.random.default_rng(5), resamples=999)
    assert result.p_value("copy", "noise") == 1
    assert result.p_value("good", "noise") == result.p_value("noise", "good") == 2 / 1000
    for level in (0.5, 0.8, 0.9, 0.99):
        p = result.p_value("good", "noise", task="a")
        interval = result.interval("good", versus="noise", task="a", level=level)
        assert (p < 1 - level) == (interval.low > 0)


def pair(rng, n, knows=0.0):
    """Two methods with equal expected areas, unless `knows`: then the score of `a` tells where deferring gains."""
    ids, large = np.arange(n), rng.random(n) < 0.7

    def method(knows):
        small = rng.random(n) < 0.5
        return Outcomes(rng.random(n) + knows * (small * 1.0 - large), small, large, ids=ids)

    return {"t": {"a": method(knows), "b": method(0.0)}}


def rejected(knows, runs):
    p_values = []
    for run in range(runs):
        data, rng = pair(np.random.default_rng([0, run]), 80, knows), np.random.default_rng([1, run])
        result = bootstrap.bootstrap_audc(data, rng, resamples=199)
        p_values.append(result.p_value("a", "b"))
    return np.sum(np.array(p_values) < 0.05)


def test_the_paired_test_keeps_its_level_and_has_power():
    assert rejected(knows=0, runs=300) <= binom.ppf(0.999, 300, 0.05)
    assert rejected(knows=1, runs=50) >= 45


def test_an_interval_of_what_is_defined():
    nan = float("nan")
    found = bootstrap.Interval.of_defined(np.array([0.5, 0.0, nan, 1.0]))
    assert found == bootstrap.Interval.of(0.5, np.array([0.0, 1.0]))
    for values in ([0.5, nan, nan], [nan, 0.0, 1.0]):
        estimate, low, high = bootstrap.Interval.of_defined(np.array(values))
        assert np.isnan([low, high]).all() and (estimate == 0.5) == (values[0] == 0.5)


def test_the_weights_of_seeds_begin_with_those_of_the_estimate():
    weights = bootstrap.seed_weights(np.random.default_rng(0), 4, 10)
    np.testing.assert_array_equal(weights[0], 0.25)
    np.testing.assert_array_equal(weights[1:], bootstrap.draw_seeds(np.random.default_rng(0), 4, 10))
