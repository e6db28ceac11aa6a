"""SuperGLUE's own metrics and its average."""

import math

import pytest

from benchmarks import metrics
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

SCORES = {
    "bool_q": {"accuracy": 80.0},
    "cb": {"macro_f1": 60.0, "accuracy": 90.0},
    "copa": {"accuracy": 70.0},
    "multirc": {"f1a": 70.0, "exact_match": 30.0, "accuracy": 75.0},
    "record": {"f1": 90.0, "exact_match": 80.0},
    "rte": {"accuracy": 75.0},
    "wic": {"accuracy": 65.0},
    "wsc": {"accuracy": 60.0},
}


def option(question, target):
    return Example("0", "prompt\n", target, options=("no", "yes"), group=question, task="multirc")


def test_multirc_by_hand():
    # Question q1: both options right. q2: one of three wrong (a false alarm). q3: its only option missed.
    # TP 2 (q1, q2), FP 1 (q2), FN 1 (q3): F1a = 4/6. Exact: one question of three. Right: four options of six.
    texts = ["yes", "no", "yes", "yes", "no", "no"]
    examples = [option("q1", "yes"), option("q1", "no"), option("q2", "yes"), option("q2", "no"), option("q2", "no")]
    examples += [option("q3", "yes")]
    expected = {
        "f1a": pytest.approx(200 / 3),
        "exact_match": pytest.approx(100 / 3),
        "accuracy": pytest.approx(200 / 3),
    }
    assert metrics.get("multirc").corpus(texts, examples) == expected
    # Options of a question need not stand together.
    order = [5, 0, 2, 4, 1, 3]
    assert metrics.get("multirc").corpus([texts[i] for i in order], [examples[i] for i in order]) == expected


def test_gender_parity_by_hand():
    # Pair p1 is answered alike (one right), p2 differently (both right): parity 1 of 2, accuracy 3 of 4.
    examples = [option("p1", "yes"), option("p1", "no"), option("p2", "yes"), option("p2", "no")]
    numbers = metrics.get("gender_parity").corpus(["yes", "yes", "yes", "no"], examples)
    assert numbers == {"accuracy": 75.0, "gender_parity": 50.0}


@pytest.mark.parametrize("count", [1, 3])
def test_gender_parity_needs_pairs(count):
    with pytest.raises(CatKerasError, match=f"pairs; group 'p' has {count} examples"):
        metrics.get("gender_parity").corpus(["yes"] * count, [option("p", "yes")] * count)


@pytest.mark.parametrize("name", ["multirc", "gender_parity"])
def test_groups_must_be_named(name):
    with pytest.raises(CatKerasError, match="needs a group on every example; received example '0' of task 'multirc'"):
        metrics.get(name).corpus(["yes", "yes"], [option("g", "yes"), option("", "yes")])


def test_average_by_hand():
    # 80, (60 + 90)/2 = 75, 70, (70 + 30)/2 = 50, (90 + 80)/2 = 85, 75, 65, 60: 560 / 8.
    assert metrics.superglue_average(SCORES) == pytest.approx(70)
    diagnostics = {"axb": {"matthews": 0.1}, "axg": {"accuracy": 50.0, "gender_parity": 100.0}}
    assert metrics.superglue_average(SCORES | diagnostics) == pytest.approx(70)


def test_average_skips_no_task():
    rest = {task: numbers for task, numbers in SCORES.items() if task not in ("copa", "wsc")}
    with pytest.raises(CatKerasError, match="missing: copa, wsc"):
        metrics.superglue_average(rest)


@pytest.mark.parametrize("numbers", [{"accuracy": 90.0}, {"macro_f1": math.nan, "accuracy": 90.0}, {}])
def test_average_needs_every_number(numbers):
    with pytest.raises(CatKerasError, match="macro_f1 and accuracy of cb; received"):
        metrics.superglue_average(SCORES | {"cb": numbers})
