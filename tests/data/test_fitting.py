"""A prompt that is too long loses what its example says may be cut, from the side that it says, and nothing else."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.tasks import sample_rows, task
from cat_keras.data.encoding import encode, prompts_within
from cat_keras.data.fitting import fit, shorten
from cat_keras.data.records import Example
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError


class Letters(SimpleNamespace):
    """A tokenizer with a token per character, or per two where they are the same."""

    start_token_id, end_token_id, pad_token_id = 1, 2, 0

    def __call__(self, texts):
        return [self.ids(text) for text in texts]

    def get_vocabulary(self):
        return ["a"]

    @staticmethod
    def ids(text):
        ids = []
        for character in text:
            if ids and ids[-1] == ord(character):
                ids[-1] += 10**6
            else:
                ids.append(ord(character))
        return ids

    @staticmethod
    def detokenize(ids):
        return "".join(chr(i) if i < 10**6 else 2 * chr(i - 10**6) for i in ids)


def example(*parts, target="t", options=()):
    """An example whose prompt is made of texts; a pair (text, side) may be cut from that side."""
    prompt, cut = "", []
    for part in parts:
        text, side = part if isinstance(part, tuple) else (part, "")
        start, prompt = len(prompt), prompt + text
        if side:
            cut.append((start, len(prompt)) if side == "end" else (len(prompt), start))
    return Example("a", prompt, target, options=options, cut=cut)


def fitted(one, room):
    result = fit([one], [room], Letters())
    return Letters.detokenize(result.prompts[0]), bool(result.cut[0]), bool(result.overlong[0])


def test_the_side_is_cut_that_is_named():
    assert fitted(example("Read: ", ("abcdefgh", "end"), "\nWhy?\n"), 16) == ("Read: abcd\nWhy?\n", True, False)
    assert fitted(example("Read: ", ("abcdefgh", "start"), "\nWhy?\n"), 16) == ("Read: efgh\nWhy?\n", True, False)
    assert fitted(example("Read: ", ("abcdefgh", "end"), "\nWhy?\n"), 20) == ("Read: abcdefgh\nWhy?\n", False, False)


def test_the_longest_part_loses_first():
    assert fitted(example(("abcdefgh", "end"), "|", ("123", "start"), "?"), 9)[0] == "abcd|123?"
    assert fitted(example(("abcdefgh", "end"), "|", ("123", "start"), "?"), 6)[0] == "ab|23?"


def test_no_blank_stays_where_it_was_cut():
    assert fitted(example(("one two three", "end"), "\nWhy?\n"), 10)[0] == "one\nWhy?\n"


def test_without_anything_to_cut_the_beginning_goes():
    assert fitted(example("abcdefgh"), 3) == ("fgh", True, False)
    assert fitted(example("abcdefgh", ("123456", "end"), "?"), 4) == ("fgh?", True, True)  # the rest alone is too long
    assert fitted(example("abc", ("", "end"), "?"), 2) == ("c?", True, True)


letters = st.text(st.sampled_from("aab c"), max_size=12)
sides = st.sampled_from(["", "start", "end"])


@settings(deadline=None)
@given(st.lists(st.tuples(letters, sides), min_size=1, max_size=5), st.integers(0, 40))
def test_what_may_not_be_cut_stays(parts, room):
    one = example(*(part if part[1] else part[0] for part in parts))
    text, was_cut, overlong = fitted(one, room)
    whole = Letters.ids(one.prompt)
    assert len(Letters.ids(text)) <= room
    assert was_cut == (len(whole) > room)
    if not was_cut:
        assert text == one.prompt
    elif one.cut and len(Letters.ids(shorten(one, 0))) <= room:
        assert not overlong
        assert text in {shorten(one, limit) for limit in range(13)}
    else:
        assert text == Letters.detokenize((Letters.ids(shorten(one, 0)))[-room:] if room else [])
        assert overlong == bool(one.cut)


@settings(deadline=None)
@given(st.text("abcdefgh ", max_size=300), st.sampled_from(["start", "end"]), st.integers(0, 300))
def test_no_more_is_cut_than_must_be(text, side, room):
    one = example("Read: ", (text, side), " Why?")
    ids = fit([one], [room], Letters()).prompts[0]
    most = max((len(Letters.ids(shorten(one, n))) for n in range(len(text) + 1)
                if len(Letters.ids(shorten(one, n))) <= room), default=room)  # fmt: skip
    assert most - 2 <= len(ids) <= room  # two letters that are the same make one token


def test_others_do_not_change_how_a_prompt_is_cut():
    many = [example("Read: ", ("ab cd" * n, "end"), "?") for n in range(1, 40)]
    rooms = list(range(10, 49))
    together = fit(many, rooms, Letters()).prompts
    assert together == [fit([one], [room], Letters()).prompts[0] for one, room in zip(many, rooms, strict=True)]


@pytest.mark.parametrize("cut", [((0, 9),), ((-1, 2),), ((0, 4), (3, 6)), ((6, 3), (0, 4)), ((0.5, 2),), (3, 4), "ab"])
def test_parts_to_cut_lie_in_the_prompt_and_apart(cut):
    with pytest.raises(CatKerasError, match=r"pairs of places in the prompt, 0 to 8, apart.* in example 'a'"):
        Example("a", "abcdefgh", "t", cut=cut)


def test_an_example_survives_json():
    one = Example("a", "abcdefgh", "t", cut=[[0, 4], [8, 6]])
    assert one.cut == ((0, 4), (8, 6)) and Example(**one.asdict()) == one
    assert "cut" not in Example("a", "abcdefgh", "t").asdict()  # as in the hashes of older results


# -- training and answering ------------------------------------------------------------------------------------------


def test_training_and_answering_cut_alike(small):
    tokenizer = small.preprocessor.tokenizer
    story = "The mill stood by the river for a long time. " * 12
    options = ("red", "blue")
    one = example("Read.\n", (story, "end"), "\nWhat colour was it?\n", target="red", options=options)
    room = 40
    data = encode([one], tokenizer, room)
    prompt = tokenizer.detokenize(list(map(int, data.tokens[1 : data.n_prompt[0]])))
    assert data.truncated == 1 and data.overlong == 0
    assert (
        prompt.startswith("Read.\nThe mill") and prompt.endswith("\nWhat colour was it?\n") and len(data.tokens) <= room
    )
    predictor = Predictor(small, max_length=room, max_new_tokens=8)
    (ids,), _ = predictor._tokenized([one])
    answer = tokenizer.detokenize(ids[1:])
    assert answer.startswith("Read.\nThe mill") and answer.endswith("\nWhat colour was it?\n")
    (ids,), _ = prompts_within([one], tokenizer, room - 8)
    question = tokenizer.detokenize(ids[1:])
    assert question.startswith("Read.\nThe") and question.endswith("\nWhat colour was it?\n") and len(ids) <= room - 8
    assert len(predictor([one, example(story, "?")])) == 2
    assert (predictor.truncated, predictor.overlong) == (3, 0)


# -- the tasks -------------------------------------------------------------------------------------------------------


def cases():
    for name in task.names():
        declared = task.get(name)
        if declared.cut:
            yield from ((name, template) for template in range(len(declared.templates)))


@pytest.mark.parametrize(("name", "template"), cases())
def test_instruction_question_and_options_survive(name, template, tokenizer):
    declared = task.get(name)
    rows = [(id, row) for id, row in sample_rows.rows(declared) if declared.keeps(row)]
    examples = [declared.example(row, id, template) for id, row in rows]
    kept = [keep_only(e) for e in examples]
    rooms = [len(ids) + 3 for ids in fit(kept, [10**6] * len(kept), tokenizer).prompts]
    result = fit(examples, rooms, tokenizer)
    assert not result.overlong.any()
    for one, ids, room, was_cut in zip(examples, result.prompts, rooms, result.cut, strict=True):
        text = tokenizer.detokenize(ids)
        assert len(ids) <= room
        place = 0
        for piece in outside(one):  # in their order
            place = text.index(piece, place) + len(piece)
        assert was_cut == (text != one.prompt)


@pytest.mark.parametrize("name", [name for name in task.names() if "embedded" not in name])
def test_what_a_task_lets_cut_is_neither_option_nor_answer(name):
    declared = task.get(name)
    for id, row in sample_rows.rows(declared):
        if declared.keeps(row):
            for template, text in enumerate(declared.templates):
                one = declared.example(row, id, template)
                assert len(one.cut) == sum(text.count(f"{{{field}}}") for field in declared.cut)
                literals = "".join(outside(one))
                assert all(piece in literals for piece in text.format_map(Nothing()).split("\0") if piece)


class Nothing(dict):
    def __missing__(self, name):
        return "\0"


def outside(one):
    """The texts of a prompt that may not be cut."""
    pieces, place = [], 0
    for start, end in sorted(map(sorted, one.cut)):
        pieces.append(one.prompt[place:start])
        place = end
    return [*pieces, one.prompt[place:]]


def keep_only(one):
    return Example(one.id, "".join(outside(one)), one.target)
