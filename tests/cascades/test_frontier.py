"""The frontier of cascades: means of all combinations against play, known optima, and thresholds of other folds."""

import numpy as np
import pytest

from cat_keras.cascades import frontier as module
from cat_keras.cascades.frontier import frontier
from cat_keras.cascades.playback import Stages
from cat_keras.cascades.routing import folds
from cat_keras.errors import CatKerasError

COST = np.array([1.0, 3.0, 10.0])


def stages(n=300, seed=0):
    """Three models; each is right below some difficulty, and its score says how far the question is from that."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random(n)
    quality = (difficulty < np.array([[0.4], [0.7], [0.9]])).astype(float)
    return Stages(np.stack([0.4 - difficulty, 0.7 - difficulty]), quality, np.tile(COST[:, None], n))


@pytest.mark.parametrize("models", [2, 3, 4])
def test_means_of_all_combinations_are_what_play_gives(models):
    rng = np.random.default_rng(models)
    some = Stages(rng.normal(size=(models - 1, 40)).round(1), rng.random((models, 40)), rng.random((models, 40)))
    thresholds, quality, cost = module._candidates(some, "grid")
    points = some.points(thresholds)
    assert quality == pytest.approx(points.quality, abs=1e-11) and cost == pytest.approx(points.cost)
    assert len(thresholds) <= module.CANDIDATES and (thresholds == -np.inf).all(axis=1).any()


def test_a_cascade_that_knows_itself():
    """What the small model gets right costs 1, what the middle one gets right besides 4, and all else 14."""
    three, n = stages(), 300
    small, middle, large = three.quality.mean(axis=1)
    costs = np.array([1.0, 1 + 3 * (1 - small), 1 + 3 * (1 - small) + 10 * (1 - middle), 20.0])
    way = frontier([three], folds("task", range(n)), costs)
    quality, cost = way.quality.mean(axis=1), way.cost.mean(axis=1)
    assert quality == pytest.approx([small, middle, large, large], abs=0.04)
    assert cost[:3] == pytest.approx(costs[:3], abs=0.6) and cost[3] < 8  # no one has to spend a budget


def test_rational_tuning_finds_nearly_the_same():
    rng, n = np.random.default_rng(0), 200
    sure = 1 / (1 + np.exp(-rng.normal(size=(2, n)) - [[0.0], [1.0]]))
    quality = (rng.random((3, n)) < np.concatenate([sure, np.full((1, n), 0.95)])).astype(float)
    noisy, fold_of = Stages(sure, quality, np.tile(COST[:, None], n)), folds("task", range(n))
    ways = [frontier([noisy], fold_of, np.linspace(1, 10, 5), method) for method in module.METHODS]
    quality, cost = ([getattr(way, name).mean(axis=1) for way in ways] for name in ("quality", "cost"))
    assert quality[1] == pytest.approx(quality[0], abs=0.05) and cost[1] == pytest.approx(cost[0], abs=0.6)


def test_at_equal_cost_the_better_of_two_systems_is_taken():
    three, n = stages(), 300
    fold_of, budgets = folds("task", range(n)), np.linspace(1, 10, 7)
    pairs = [Stages(three.scores[[i]], three.quality[[i, 2]], three.cost[[i, 2]]) for i in (0, 1)]
    apart = [frontier([pair], fold_of, budgets).quality.mean(axis=1) for pair in pairs]
    both = frontier(pairs, fold_of, budgets).quality.mean(axis=1)
    assert (both >= apart[0] - 0.02).all() and (both >= apart[1] - 0.02)[budgets > 3].all()
    assert both[0] == pytest.approx(apart[0][0], abs=0.02)  # below the cost of the middle model there is the small one


def test_thresholds_of_a_fold_do_not_know_its_answers():
    """What is asked of a fold is decided by the others: its own qualities change what it gives, not what it costs."""
    three, fold_of = stages(60), folds("task", range(60))
    changed = Stages(three.scores, np.where(fold_of == 0, 1 - three.quality, three.quality), three.cost)
    budgets = np.linspace(1, 10, 5)
    before, after = (frontier([each], fold_of, budgets) for each in (three, changed))
    assert (before.cost[:, fold_of == 0] == after.cost[:, fold_of == 0]).all()
    assert (before.quality[:, fold_of == 0] != after.quality[:, fold_of == 0]).any()


def test_the_best_of_many_useless_thresholds_gains_nothing():
    """Scores that say nothing: chosen and judged on the same questions they would seem to help."""
    rng, n, gains = np.random.default_rng(1), 100, []
    for _ in range(20):
        quality = (rng.random((3, n)) < 0.5).astype(float)
        useless = Stages(rng.normal(size=(2, n)), quality, np.tile(COST[:, None], n))
        way = frontier([useless], folds("task", range(n)), np.array([14.0]))
        gains.append(way.quality.mean() - 0.5)
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(20) + 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "rationl"}, "did you mean rational"),
        ({"fold_of": np.zeros(9, int)}, "the same queries"),
        ({"fold_of": np.zeros(300, int)}, "other folds"),
    ],
)
def test_bad_input(change, message):
    arguments = {"systems": [stages()], "fold_of": folds("task", range(300)), "budgets": np.array([1.0, 5.0])}
    with pytest.raises(CatKerasError, match=message):
        frontier(**arguments | change)
