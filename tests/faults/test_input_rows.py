"""Rows of every task, changed at random: an example whose texts can be used, or one error."""

import json

import pytest
from hypothesis import strategies as st

from benchmarks import metrics
from benchmarks.planning.examples import Examples, Lengths
from benchmarks.tasks import sample_rows, task
from cat_keras.data.records import Example
from tests.faults import cases, strange

TASKS = task.names()


def rows(name: str) -> list[dict]:
    """A few rows of a task as they should be."""
    declared = task.get(name)
    if hasattr(declared.source, "open"):
        return [row for _, row in sample_rows.rows(declared)]
    return [row for _, (_, row) in zip(range(4), declared.source.rows("test", None), strict=False)]


ROWS = {name: rows(name) for name in TASKS}


def check_example(declared: task.Task, example: Example):
    """Everything that a run does with an example before a model sees it, and after."""
    texts = [example.prompt, example.target, example.group, *example.options, *example.references]
    assert all(isinstance(text, str) for text in texts) and example.target and example.references
    for text in texts:
        text.encode()
    assert declared.kind == "generation" or example.answer >= 0
    read = Examples([declared], lambda _: [example])
    assert len(read.fingerprint) == 64 and isinstance(read.lengths[declared.name], Lengths)
    assert Example(**json.loads(json.dumps(example.asdict()))) == example


@pytest.mark.parametrize("n", cases(100, 3000))
def test_a_changed_row_is_an_example_or_one_error(n):
    examples = 0

    def check(name, data, template):
        nonlocal examples
        declared = task.get(name)
        row = data.draw(st.sampled_from(ROWS[name]).flatmap(strange.mutated))
        if not isinstance(row, dict):
            return  # `read_jsonl` refuses it, see test_input_jsonl
        if strange.result_or_error(declared.keeps, row):
            example = strange.result_or_error(declared.example, row, "test-0", template)
            if example is not None:
                examples += 1
                check_example(declared, example)

    strange.prove(check, n, name=st.sampled_from(TASKS), data=st.data(), template=st.integers(0, 1))
    assert examples > n / 20  # or nothing but errors was tested


@pytest.mark.parametrize("name", TASKS)
def test_a_row_without_one_of_its_fields(name):
    declared = task.get(name)
    for row in ROWS[name][:1]:
        for field in row:
            for value in (None, "", [], {}, 10**400, float("nan"), float("inf"), "\ud800", "\0"):
                for changed in ({**row, field: value}, {k: v for k, v in row.items() if k != field}):
                    if strange.result_or_error(declared.keeps, changed):
                        example = strange.result_or_error(declared.example, changed, "test-0")
                        if example is not None:
                            check_example(declared, example)


@pytest.mark.parametrize("n", cases(60, 1000))
def test_any_answer_has_a_quality_between_0_and_1(n):
    """Whatever a model says; a text of the tokenizer's is never a lone surrogate."""
    asked = {name: task.get(name).example(ROWS[name][0], "test-0") for name in TASKS}

    def check(name, text):
        declared = task.get(name)
        judge = metrics.of(declared)
        assert 0 <= judge.per_example(text, asked[name]) <= 1 + 1e-9

    answers = st.one_of(strange.texts, st.sampled_from(["yes no", "3.5", "-inf", "1e400", "1_000", "０.５"]))
    answers = answers.map(lambda text: text.encode(errors="replace").decode())
    strange.prove(check, n, name=st.sampled_from(TASKS), text=answers)


def test_a_text_is_no_list_of_letters():
    row = ROWS["record"][0]
    for field in ("entities", "answers"):
        assert strange.result_or_error(task.get("record").example, {**row, field: "Oslo"}, "test-0") is None
