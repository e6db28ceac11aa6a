"""Bands: the same resamples as the areas, exact curves, and the promise that they hold the truth."""

import numpy as np
import pytest
from scipy.stats import binom
from test_bootstrap import bootstrap_input, pair

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import bands
from cat_keras.evaluation.bands import GRID, bootstrap_bands
from cat_keras.evaluation.bootstrap import bootstrap_audc
from cat_keras.evaluation.curves import Outcomes, macro_average


def rng():
    return np.random.default_rng(5)


def test_a_resampled_curve_is_the_curve_of_the_repeated_rows():
    r = np.random.default_rng(0)
    for score in (r.random(40), r.integers(5, size=40)):
        data = Outcomes(score, r.random(40), r.random(40))
        counts = r.multinomial(40, np.full(40, 1 / 40), size=6)
        found = bands._ResampledCurves([data], np.zeros((1, 1), int), GRID)(
            counts.T.astype(np.float32), np.ones((6, 1))
        )
        columns = data.score, data.quality_small, data.quality_large
        for row, curve in zip(counts, found[:, 0], strict=True):
            expected = Outcomes(*(np.repeat(column, row) for column in columns)).curve().quality_at(GRID)
            np.testing.assert_allclose(curve, expected, atol=1e-12)


def test_estimates_are_the_exact_curves():
    data = bootstrap_input()
    found = bootstrap_bands(data, rng(), scopes={"both": ["b", "a"], "b": ["b"]}, resamples=50)
    mean = macro_average({task: data[task]["noise"].curve() for task in "ab"}, "ab")
    np.testing.assert_allclose(found["both"]["noise"].estimate, mean.quality_at(GRID), atol=1e-12)
    np.testing.assert_allclose(found["b"]["good"].estimate, data["b"]["good"].curve().quality_at(GRID), atol=1e-12)
    assert list(found) == ["both", "b"]
    assert list(found["b"]) == ["copy", "good", "noise"]


def test_bands_are_drawn_from_the_resamples_of_the_areas():
    # Flat curves: the band at every rate is the interval of the area.
    r = np.random.default_rng(1)
    quality = r.random(80)
    data = {"t": {"flat": Outcomes(np.zeros(80), quality, quality, ids=np.arange(80))}}
    interval = bootstrap_audc(data, rng(), resamples=300).interval("flat")
    band = bootstrap_bands(data, rng(), resamples=300)["all"]["flat"]
    np.testing.assert_allclose(band.low, interval.low)
    np.testing.assert_allclose(band.high, interval.high)


def test_the_simultaneous_band_is_wider_and_around_the_estimate():
    band = bootstrap_bands(bootstrap_input(), rng(), resamples=400)["all"]["noise"]
    assert (band.all_high - band.all_low > band.high - band.low - 1e-9).all()
    np.testing.assert_allclose((band.all_low + band.all_high) / 2, band.estimate)
    assert band.rate is GRID


def test_differences_are_paired_and_tested():
    found = bootstrap_bands(bootstrap_input(), rng(), versus="noise", resamples=400)["all"]
    assert set(found) == {"copy", "good"}
    assert not np.any([found["copy"].estimate, found["copy"].low, found["copy"].all_high])
    assert found["copy"].p_value == 1
    assert found["good"].p_value == 1 / 401
    assert (found["good"].all_low > 0).any()
    assert found["good"].estimate[[0, -1]] == pytest.approx([0, 0])  # both have the same models


def test_seeds_are_averaged_and_drawn():
    ids, flat = np.arange(30), np.zeros(30)
    data = {"t": {f"a/{s}": Outcomes(flat, flat + 0.2 + 0.4 * s, flat + 0.2 + 0.4 * s, ids=ids) for s in (0, 1)}}
    band = bootstrap_bands(data, rng(), models={"a": ["a/0", "a/1"]}, resamples=400)["all"]["a"]
    np.testing.assert_allclose([band.low, band.estimate, band.high], np.outer([0.2, 0.4, 0.6], np.ones(101)))


def test_threads_order_and_other_scopes_change_no_number():
    data = bootstrap_input()
    again = {task: dict(reversed(data[task].items())) for task in reversed(data)}
    first = bootstrap_bands(data, rng(), resamples=60, threads=1)["all"]
    second = bootstrap_bands(again, rng(), resamples=60, threads=4)["all"]
    for method, band in first.items():
        for name in ("estimate", "low", "high", "all_low", "all_high"):
            np.testing.assert_array_equal(getattr(band, name), getattr(second[method], name))
    alone = bootstrap_bands(data, rng(), scopes={"b": ["b"], "all": ["a", "b"]}, resamples=60)
    np.testing.assert_array_equal(alone["all"]["good"].low, first["good"].low)


@pytest.mark.slow
def test_the_test_of_whole_curves_keeps_its_level_and_has_power():
    def rejected(knows, runs):
        p_values = []
        for run in range(runs):
            data, draws = pair(np.random.default_rng([2, run]), 80, knows), np.random.default_rng([3, run])
            p_values.append(bootstrap_bands(data, draws, versus="b", resamples=199)["all"]["a"].p_value)
        return np.sum(np.array(p_values) < 0.05)

    assert rejected(knows=0, runs=200) <= binom.ppf(0.999, 200, 0.05)
    assert rejected(knows=1, runs=30) >= 27


def test_bad_arguments():
    data = bootstrap_input()
    for change, message in (
        ({"scopes": {"x": ["c"]}}, "Unknown task 'c'"),
        ({"scopes": {"x": []}}, "at least one task; 'x' has none"),
        ({"versus": "god"}, "Unknown method 'god'; did you mean good"),
        ({"grid": [0.5, 0.1]}, "increasing"),
        ({"grid": [0, 2]}, "Each of grid"),
        ({"level": 95}, "level"),
        ({"models": {"m": []}}, "same number of seeds"),
    ):
        with pytest.raises(CatKerasError, match=message):
            bootstrap_bands(data, rng(), **change)
