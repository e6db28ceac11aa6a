"""Questions that all models answered: nothing is dropped without a sentence that counts it."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.importing.joining import join
from cat_keras.errors import CatKerasError


def frame(rows, **columns):
    found = pd.DataFrame(rows, columns=["model", "id", "quality"]).assign(task="", run="")
    return found.assign(**columns).astype(dict.fromkeys(("model", "id", "task", "run"), "category"))


BOTH = [("A", "1", 1.0), ("B", "2", 0.0), ("B", "1", 0.5), ("A", "2", 0.0)]


def test_rows_are_put_in_one_order():
    joined = join(frame(BOTH))
    assert joined.models == ("A", "B") and joined.ids.tolist() == ["1", "2"]
    assert joined.column("quality", "A").tolist() == [1, 0] and joined.column("quality", "B").tolist() == [0.5, 0]
    assert joined.counts == ["2 questions, 2 models or runs, all answered by all."]


def test_models_are_taken_in_the_order_they_are_asked_for():
    assert join(frame(BOTH), models=("B", "A")).models == ("B", "A")


def test_missing_rows_are_counted_by_model():
    joined = join(frame([*BOTH, ("A", "3", 1.0), ("C", "1", 1.0), ("C", "2", 1.0), ("C", "3", 1.0)]))
    assert joined.ids.tolist() == ["1", "2"]
    assert joined.counts[0] == "2 of 3 questions are answered by all; 1 are left out. Not answered: B 1."
    assert joined.counts[1] == "Without B there would be 1 more."


def test_rows_without_quality_are_counted():
    joined = join(frame([*BOTH, ("A", "3", np.nan), ("B", "3", 1.0)]))
    assert "1 rows have no quality and are left out: A 1." in joined.counts and len(joined.ids) == 2


def test_one_model_is_no_cascade():
    with pytest.raises(CatKerasError, match="at least two models"):
        join(frame([("A", "1", 1.0)]))


def test_no_question_in_common_names_the_models_apart():
    rows = [(model, id, 1.0) for model, ids in (("A", "12"), ("B", "12"), ("C", "34")) for id in ids]
    with pytest.raises(CatKerasError, match=r"none in common of 4.*share none with A: C"):
        join(frame(rows))


def test_unknown_models_and_tasks_are_named():
    with pytest.raises(CatKerasError, match="Unknown model 'D'"):
        join(frame(BOTH), models=("A", "D"))
    with pytest.raises(CatKerasError, match="Unknown task 'x'"):
        join(frame(BOTH), tasks=("x",))


def test_repeated_rows_are_an_error_until_somebody_says_what_they_are():
    rows = [*BOTH, ("A", "1", 0.0), ("A", "2", 0.0)]
    with pytest.raises(CatKerasError, match=r"2 repeated rows, e\.g\. of A to '1'"):
        join(frame(rows))
    first = join(frame(rows), duplicates="first")
    assert first.column("quality", "A").tolist() == [1, 0]
    runs = join(frame(rows), duplicates="runs")
    assert runs.runs["A"] == ("0", "1") and runs.column("quality", "A", "1").tolist() == [0, 0]


def test_samples_are_one_answer_and_all_are_paid_for():
    rows = [("A", "1", 0.0), ("A", "1", 1.0), ("A", "1", 1.0), ("B", "1", 1.0)]
    joined = join(frame(rows, text=["x", "y", "Y ", "z"], cost=[1.0, 2.0, 3.0, 9.0]), duplicates="samples")
    assert joined.column("quality", "A").tolist() == [1] and joined.column("cost", "A").tolist() == [6]
    assert joined.column("agreement", "A").tolist() == [2 / 3] and joined.column("agreement", "B").tolist() == [1]
