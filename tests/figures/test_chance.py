"""What an answer is worth that reads no question, by hand; and which values plots mark as no better."""

from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest

from benchmarks.report.plots import chance
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.evaluation.bands import GRID


class Examples(list):
    """As many options as given, no texts."""

    def __init__(self, counts):
        super().__init__(Example(str(i), "", "", "t", ("",) * count) for i, count in enumerate(counts))


def run(counts, answers=None, quality=(0.0, 1.0), name="sst2", others=()):
    """A run of one classification task and some of generation."""
    return SimpleNamespace(
        examples={name: Examples(counts)},
        large={n: {"quality": np.array(quality)} for n in (name, *others)},
        answers={} if answers is None else {name: np.array(answers)},
        choice_tasks=lambda: (name,),
    )


def test_right_or_wrong_answers_are_right_once_in_as_many_as_there_are_options():
    level = chance.of_task(run([2, 2, 4, 4], answers=[0, 1, 1, 1]), "sst2")
    assert level == chance.Level(pytest.approx((1 / 2 + 1 / 2 + 1 / 4 + 1 / 4) / 4), pytest.approx(3 / 4))
    unknown = chance.of_task(run([2, 2]), "sst2")
    assert unknown == chance.Level(0.5, 0.5)
    assert chance.of_task(run([2]), "wmt22_deen") is None


def test_graded_answers_are_worth_what_the_metric_gives_each_option():
    options = [float(option) for option in task.get("stsb").options]
    truths = [0, len(options) - 1]
    graded = run([len(options)] * 2, answers=truths, quality=(0.3, 0.9), name="stsb")
    worth = np.array([[1 - abs(option - options[truth]) / 5 for truth in truths] for option in options])
    level = chance.of_task(graded, "stsb")
    assert (level.uniform, level.constant) == pytest.approx((worth.mean(), worth.mean(axis=1).max()))
    assert chance.of_task(run([2, 2], quality=(0.3, 0.9)), "sst2") is None


def test_an_average_counts_generation_as_nothing_and_has_no_level_where_that_prevails():
    mixed = run([2, 2], answers=[0, 0], others=("wmt22_deen", "wmt22_ende"))
    assert chance.of_tasks(mixed, ("sst2", "wmt22_deen")) == chance.Level(0.25, 0.5)
    assert chance.of_tasks(mixed, ("sst2", "wmt22_deen", "wmt22_ende")) is None
    assert chance.of_tasks(mixed, ()) is None


def test_verdicts_follow_the_interval():
    level = chance.Level(0.5, 0.7)
    assert level.verdict(0.3, 0.4) == chance.BELOW
    assert level.verdict(0.4, 0.8) == chance.AT
    assert level.verdict(0.6, 0.9) == chance.MAJORITY
    assert level.verdict(0.71, 0.9) == chance.ABOVE == ""
    band = SimpleNamespace(low=np.linspace(0.4, 0.9, len(GRID)), high=np.ones(len(GRID)))
    assert chance.hollow(level, band) == [0, 25, 50]
    assert chance.hollow(None, band) == chance.hollow(level, None) == []


@pytest.mark.parametrize(
    ("values", "shades", "named"),
    [((45, 55), 2, False), ((60, 69), 1, True), ((95, 99), 0, True), ((30, 40), 2, False)],
)
def test_what_is_far_below_is_named_and_not_drawn(values, shades, named):
    axes = matplotlib.figure.Figure().subplots()
    axes.plot([0, 1], values)
    before = axes.get_ylim()
    assert chance.shade(axes, chance.Level(0.5, 0.7)) == bool(shades)
    assert len(axes.patches) == shades
    assert [text.get_text() for text in axes.texts] == (["↓ chance 50"] if named else [])
    low, high = axes.get_ylim()
    assert low <= before[0] and high >= before[1]
    assert not chance.shade(axes, None)
    assert axes.get_ylim() == (low, high)
