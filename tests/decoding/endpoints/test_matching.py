"""Which option a free answer names."""

import pytest

from cat_keras.decoding.endpoints.matching import asked, matched


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("yes", "yes"), (" Yes.\n", "yes"), ("NO!", "no"), ("no, it is not", "no"), ("nothing", None),
        ("The answer is: yes", "yes"), ("yes or no", "yes"), ("either no or yes", None), ("", None), ("...", None),
        ("not sure at all", "not sure"), ("eyes", None),
    ],
)  # fmt: skip
def test_options_are_found_as_whole_words(answer, option):
    assert matched(answer, ("yes", "no", "not", "not sure")) == option


def test_options_that_differ_in_case_alone_are_told_apart():
    assert [matched(a, ("A", "a")) for a in ("a", "A", " a ")] == ["a", "A", "a"]


def test_options_of_punctuation_are_themselves():
    assert [matched(a, ("+", "-")) for a in ("+", " - ", "?")] == ["+", "-", None]


def test_a_prompt_names_all_options():
    assert asked("yes or no?", ("yes", "no")) == "yes or no?"
    assert asked("Is it?", ("yes", "no")) == "Is it?\nOPTIONS:\n- yes\n- no\n"
