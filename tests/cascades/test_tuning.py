"""Thresholds from columns of numbers: by hand, held out, against doing without, and as a file."""

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.cascades import calibration, labels, verdict
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.cascades.playback import Stages
from cat_keras.cascades.tuning import columns, split_order
from cat_keras.errors import CatKerasError


def outcomes(n=3000, accuracy=(0.6, 0.9), sharp=1.0, seed=0):
    """Scores that know something of whether each model but the last is right, and qualities."""
    rng = np.random.default_rng(seed)
    right = rng.random((len(accuracy), n)) < np.array(accuracy)[:, None]
    scores = sharp * right[:-1] + rng.normal(size=(len(accuracy) - 1, n))
    return scores, right.astype(float)


def test_four_rows_by_hand():
    # Scores 1 to 4, the small model wrong on the two lowest: deferring those two gives all that there is.
    found = ck.tune([1, 2, 3, 4], [[0, 0, 1, 1], [1, 1, 1, 0]], cost=[1, 10], min_quality=1.0, held_out=0.0)
    assert found.thresholds == (2.5,) and found.verdict is None
    assert found.calibration.quality == 1.0 and found.calibration.cost == 6.0 and found.calibration.deferral == (0.5,)


def test_it_is_what_calibrate_chooses():
    scores, quality = outcomes(500)
    kept = calibration.on_stages(columns(scores, quality, [1.0, 9.0]), {"max_cost": 5.0})
    assert ck.tune(scores, quality, [1.0, 9.0], max_cost=5.0, held_out=0.0).thresholds == kept.thresholds


def test_the_split_is_by_id_and_not_by_order():
    ids, tasks = np.array([f"q{i}" for i in range(50)]), np.full(50, "t")
    order = np.random.default_rng(0).permutation(50)
    assert ids[split_order(50, ids, tasks)].tolist() == ids[order][split_order(50, ids[order], tasks)].tolist()
    scores, quality = outcomes(600)
    ids, order = [f"q{i}" for i in range(600)], np.random.default_rng(1).permutation(600)
    one = ck.tune(scores, quality, ids=ids, max_deferral=0.3)
    other = ck.tune(scores[:, order], quality[:, order], ids=[ids[i] for i in order], max_deferral=0.3)
    assert one.thresholds == other.thresholds and one.verdict.quality[0] == pytest.approx(other.verdict.quality[0])


def test_a_useful_score_is_worth_it_and_noise_is_not():
    assert ck.tune(*outcomes(), max_deferral=0.4).verdict.worth == "yes"
    assert ck.tune(*outcomes(sharp=0.0), max_deferral=0.4).verdict.worth in ("no", "not shown")
    assert ck.tune(*outcomes(sharp=-1.0, accuracy=(0.6, 0.7)), max_deferral=0.4).verdict.worth == "no"


def test_a_better_first_model_needs_no_second():
    found = ck.tune(*outcomes(accuracy=(0.95, 0.5)), max_deferral=0.5)
    assert found.verdict.worth != "yes" and found.verdict.deferral[0].estimate < 0.05


def test_thresholds_that_always_defer_are_not_worth_it():
    scores, quality = outcomes(400)
    judged = verdict.judge(columns(scores, quality, [1.0, 2.0]), [np.inf], names=["s", "l"])
    assert judged.worth == "no" and "always defer to l" in judged.reason
    judged = verdict.judge(columns(scores, quality, [1.0, 2.0]), [-np.inf], names=["s", "l"])
    assert judged.worth == "no" and "never defer" in judged.reason


def test_the_rivals_by_hand():
    # Two of four rows deferred; the models cost 1 and 3, so the cascade costs 1 + 0.5 * 3 = 2.5.
    stages = Stages(np.array([[1.0, 2, 3, 4]]), np.array([[0.0, 0, 1, 1], [1.0, 1, 1, 0]]),
                    np.array([[1.0] * 4, [3.0] * 4]))  # fmt: skip
    judged = verdict.judge(stages, [2.5], names=["s", "l"])
    by_name = {each.rival: each for each in judged.against}
    assert judged.quality.estimate == 1 and judged.cost.estimate == 2.5 and judged.deferral[0].estimate == 0.5
    assert judged.models == {"s": (0.5, 1.0), "l": (0.75, 3.0)}
    assert by_name["s alone"].quality.estimate == 0.5 and by_name["l alone"].cost.estimate == -0.5
    assert by_name["deferral at random"].quality.estimate == 1 - (0.5 + 0.75) / 2
    # For 2.5 a coin asks the large model with probability 3/4, and pays nobody twice.
    assert by_name["a coin at the same cost"].quality.estimate == pytest.approx(1 - (0.25 * 0.5 + 0.75 * 0.75))


def test_a_dear_small_model_loses_to_the_coin():
    scores, quality = outcomes(4000, accuracy=(0.6, 0.9), sharp=0.5)
    assert ck.tune(scores, quality, [0.0, 10.0], max_deferral=0.5).verdict.worth == "yes"
    assert ck.tune(scores, quality, [9.0, 10.0], max_deferral=0.5).verdict.worth == "no"


def test_three_stages_have_two_thresholds():
    scores, quality = outcomes(accuracy=(0.5, 0.7, 0.9))
    found = ck.tune(scores, quality, [1.0, 3.0, 10.0], max_cost=7.0, names=["a", "b", "c"])
    assert len(found.thresholds) == len(found.verdict.deferral) == 2 and found.calibration.cost <= 7
    assert [each.rival for each in found.verdict.against][:3] == ["a alone", "b alone", "c alone"]


def test_a_guarantee_holds_as_often_as_it_says():
    """Of 60 draws from a population whose losses are known, the promise may fail on 10 %."""
    scores, quality = outcomes(20_000, seed=3)
    failed, rng = 0, np.random.default_rng(0)
    for _ in range(60):
        rows = rng.choice(20_000, 900, replace=False)
        found = ck.tune(scores[:, rows], quality[:, rows], guarantee=(0.05, 0.1), held_out=0.0)
        kept = scores[0] >= found.thresholds[0]
        failed += np.mean(np.where(kept, quality[1] - quality[0], 0.0)) > 0.05
    assert failed <= 12  # P(Bin(60, 0.1) > 12) = 0.8 %


def test_rows_that_a_guarantee_takes():
    """Of 0 losses in n rows P(Bin(n, 0.1) = 0) = 0.9^n, which is at most 0.05 from 29 rows on."""
    guarantee, rng = Guarantee(0.1, 0.05, of="risk"), np.random.default_rng(0)
    assert labels.rows_needed(guarantee, np.zeros(50), True, rng) in (29, 30, 31)
    assert labels.rows_needed(guarantee, np.full(50, 0.2), False, rng) is None
    few = labels.rows_needed(guarantee, np.repeat([0.0, 1.0], [97, 3]), True, rng)
    many = labels.rows_needed(guarantee, np.repeat([0.0, 1.0], [93, 7]), True, rng)
    assert 29 < few < many


def test_a_guarantee_out_of_reach_says_what_would_do():
    with pytest.raises(CatKerasError, match=r"About [\d,]+ labelled rows to choose on would do, where 100 are now"):
        ck.tune(*outcomes(200), guarantee=(0.02, 0.01))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": [[1, 2]], "quality": [[1, 2]]}, "at least two stages"),
        ({"scores": [1, 2, 3], "quality": [[0, 1], [1, 1]]}, "stages − 1, n"),
        ({"scores": [1, np.nan], "quality": [[0, 1], [1, 1]]}, "score must be finite"),
        ({"scores": [1, 2], "quality": [[0, 2], [1, 1]]}, "quality must be in"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]], "cost": [1, 2, 3]}, "one number per stage"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]], "cost": [1, -2]}, "at least 0"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]], "held_out": 1.0}, "held_out"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]], "ids": ["a", "a"]}, "different ids"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]], "max_cost": 1}, "exactly one of"),
        ({"scores": [1, 2], "quality": [[0, 1], [1, 1]]}, "too few"),
    ],
)
def test_columns_that_do_not_fit_are_said(arguments, message):
    with pytest.raises(CatKerasError, match=message):
        ck.tune(**{"max_deferral": 0.5} | arguments)
