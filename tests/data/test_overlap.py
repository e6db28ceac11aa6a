"""Equal content under other ids: exact, and up to case, blanks and punctuation."""

import json
import time

import pytest

from benchmarks.tasks import listing, task
from cat_keras.data.overlap import Contents, content, normalised
from cat_keras.data.records import Example


def example(prompt, id="0", options=(), **given):
    return Example(id, prompt, "x", options=options, **given)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Name the colour!", "name  the COLOUR"),
        ("Don't", "dont"),
        ("well-known \u2013 so", "well known so"),
        ("\u201cquoted\u201d", '"quoted"'),
        ("stra\u00dfe", "STRASSE"),
        ("\uff21\uff22", "ab"),
        ("line\nline\u00a0line", "line line line"),
        ("sky ?", "sky?"),
    ],
)
def test_texts_that_differ_in_form_alone(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 + 4", "3 - 4"),
        ("3 * 4", "3 / 4"),
        ("x = -3", "x = 3"),
        ("1.5", "15"),
        ("5 %", "5"),
        ("a b", "ab"),
        ("é", "e"),
    ],
)
def test_texts_that_differ_in_meaning(one, other):
    assert normalised(one) != normalised(other)


def test_content_is_what_a_model_reads():
    assert content(example("a")) == content(example("a", "other", task="t", group="g"))
    assert len({content(example("a", options=o)) for o in ((), ("b",), ("b", "c"), ("c", "b"))}) == 4


def test_counts():
    train = Contents.of([example("One two."), example("Three"), example("x", options=("yes", "no"))])
    tests = [example(p, "9") for p in ("One two.", "one  TWO", "three!", "four")]
    tests += [example("x", options=("yes", "no")), example("x", options=("Yes", "no.")), example("x")]
    assert Contents.of(tests).within([train]) == (7, 2, 5)
    assert Contents.of(tests).within([]) == (7, 0, 0) and Contents.of([]).within([train]) == (0, 0, 0)


def test_many_rows_take_seconds():
    rows = [example(f"Row {i}: the heron has {i % 7} legs, and runs. {'word ' * 20}") for i in range(20_000)]
    began = time.process_time()
    assert Contents.of(rows).within([Contents.of(rows[:100])]).exact == 100
    assert time.process_time() - began < 3


def test_list_counts_rows_of_two_splits(tmp_path):
    """`list --overlap` reads the rows of a data folder."""
    folder = tmp_path / "glue" / "sst2"
    folder.mkdir(parents=True)
    rows = [{"sentence": f"film {i} was fine", "label": i % 2, "idx": i} for i in range(300)]
    tests = [
        rows[0] | {"idx": 900},
        rows[1] | {"sentence": "Film 1, was FINE!"},
        rows[1] | {"sentence": "another film"},
    ]
    for name, part in (("train", rows), ("validation", tests)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (entry,) = listing.entries([task.get("sst2")], tmp_path)
    found = listing.overlaps(entry, data=tmp_path)
    assert found["test/train"] == (3, 1, 2) and found["validation/train"] == (200, 0, 0)
    assert "test/train 1 of 3, 2 up to case" in listing.overlap_text(entry, found)
