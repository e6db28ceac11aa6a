"""Where answers end: at the tokens at which the model's own `generate` stops, and before a stop string."""

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.decoding.endings import Endings
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from tests.decoding import families

PROMPTS = ["The heron", "Say one", "a"]
NEW = 12


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (families.llama3, ("<|end_of_text|>", "<|eot_id|>")),
        (families.qwen3, ("<|im_end|>",)),
        (families.gemma, ("<eos>",)),
        (families.gemma3, ("<eos>", "<end_of_turn>")),
        (families.gpt2, ("<|endoftext|>",)),
    ],
)
def test_a_model_is_asked_what_ends_its_answers(family, words):
    model = family()
    ids = models.end_ids(model)
    assert [model.preprocessor.tokenizer.id_to_token(i) for i in ids] == list(words)
    answer = ck.Generator(model)([[5, 6]], NEW)[0]  # a generator without a stop of its own asks too
    assert answer.tokens == ck.Generator(model, ids)([[5, 6]], NEW)[0].tokens
    assert "generate_preprocess" not in vars(model.preprocessor) and "make_generate_function" not in vars(model)


@pytest.fixture(
    scope="module",
    params=[families.llama3, pytest.param(families.gemma3, marks=pytest.mark.long)],
    ids=["llama3", "gemma3"],
)
def pair(request):
    """Two models that say the second end of their family somewhere; and that token."""
    made = []
    for layers in (1, 2):
        model = request.param(layers)
        end = models.end_ids(model)[1]
        tokenizer = model.preprocessor.tokenizer
        prompt = [tokenizer.start_token_id, *map(int, tokenizer("The heron"))]
        free = ck.Generator(model, [])([prompt], NEW)[0].tokens
        made.append(families.exchanged(model, free[4], end))
    return (*made, end)


@pytest.mark.long
def test_answers_end_where_those_of_keras_hub_do(pair):
    small, large, end = pair
    predictions = ck.Predictor(large, max_length=40, max_new_tokens=NEW)([ck.Example("1", p, "") for p in PROMPTS])
    alone = [p.text for p in predictions]
    assert any(0 < p.n_answer < NEW for p in predictions)
    word = large.preprocessor.tokenizer.id_to_token(end)
    large.compile(sampler="greedy")
    for prompt, text in zip(PROMPTS, alone, strict=True):
        length = 1 + len(large.preprocessor.tokenizer(prompt)) + NEW
        theirs = large.generate([prompt], max_length=length, strip_prompt=True)[0]
        assert theirs.removesuffix(word) == text and word not in text
    always = ck.Cascade([small, large], thresholds=[np.inf], max_length=40, max_new_tokens=NEW)
    assert [a.text for a in always.generate(PROMPTS)] == alone
    tokens = ck.SpeculativeCascade(small, large, max_length=40)
    assert [a.text for a in tokens.generate(PROMPTS, NEW)] == alone


# -- stop strings ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talker(new_model):
    """A model that says all sorts of things at length."""
    return families.sharpened(new_model("small"))


@pytest.fixture(scope="module")
def free(talker, examples):
    """Answers without a stop string."""
    asked = [e for e in examples if not e.options][::3]
    return asked, ck.Predictor(talker, max_length=60, max_new_tokens=NEW, measures=("entropy", "hidden"))(asked)


def _stops(texts):
    """Every piece of a few characters that stands somewhere within the answers, and not in all."""
    pieces = {text[i : i + n] for text in texts for n in (1, 2, 3) for i in range(len(text) - n + 1)}
    return sorted(pieces)


def test_an_answer_is_what_it_was_up_to_the_stop_string(talker, free):
    asked, whole = free
    tokenizer, across = talker.preprocessor.tokenizer, 0
    for stop in _stops([p.text for p in whole])[::40]:
        cut = ck.Predictor(talker, max_length=60, max_new_tokens=NEW, measures=("entropy", "hidden"), stop=[stop])
        for before, after in zip(whole, cut(asked), strict=True):
            place = before.text.find(stop)
            assert after.text == (before.text if place < 0 else before.text[:place])
            assert after.n_answer == len(after.token_logprobs) == len(after.token_entropies) >= 1
            np.testing.assert_allclose(after.token_logprobs, before.token_logprobs[: after.n_answer], atol=1e-4)
            assert cut.flops.forward(after.n_prompt, after.n_answer) <= after.flops <= before.flops
            assert len(after.embedding) == len(before.embedding)
        across += stop not in {tokenizer.id_to_token(i) for i in range(tokenizer.vocabulary_size())}
    assert across  # stop strings that no token is


def test_the_kept_tokens_are_those_that_hold_the_kept_text(tokenizer):
    texts = ["two legs.\nEven?", "nought", "a\n\nb"]
    for tokens, text in zip(map(tokenizer, texts), texts, strict=True):
        tokens = list(map(int, tokens))
        for stop in _stops([text]):
            kept, said = Endings([1], [stop], tokenizer).cut(tokens)
            assert said == text[: text.find(stop)]
            assert kept == 1 or not tokenizer.detokenize(tokens[: kept - 1]).startswith(said)
            assert tokenizer.detokenize(tokens[:kept]).startswith(said)
    assert Endings([1], ["x"], tokenizer).cut([*tokens, 1]) == (len(tokens) + 1, text)  # the end token stays


def test_the_first_of_several_stop_strings_counts(talker, free):
    asked, whole = free
    longest = max(whole, key=lambda p: len(p.text)).text
    stops = [longest[-2:], longest[1:3]]
    for before, after in zip(
        whole, ck.Predictor(talker, max_length=60, max_new_tokens=NEW, stop=stops)(asked), strict=True
    ):
        places = [p for p in (before.text.find(s) for s in stops) if p >= 0]
        assert after.text == before.text[: min(places, default=None)]


@pytest.mark.slow
def test_all_ways_to_an_answer_stop_alike(talker, new_model, free, monkeypatch):
    asked, whole = free
    longest = max(whole, key=lambda p: len(p.text)).text
    stop, prompts = [longest[2:4]], [e.prompt for e in asked]
    settings = {"max_length": 60, "max_new_tokens": NEW, "stop": stop}
    expected = [(p.text, p.n_answer) for p in ck.Predictor(talker, **settings)(asked)]
    assert len({text for text, _ in expected}) > 1
    cascade = ck.Cascade([new_model("small"), talker], thresholds=[np.inf], **settings)
    assert [a.text for a in cascade.generate(prompts)] == [text for text, _ in expected]
    tokens = ck.SpeculativeCascade(new_model("small"), talker, max_length=60, stop=stop)
    assert [(a.text, len(a.tokens)) for a in tokens.generate(prompts, NEW)] == expected
    ids = [[2, *map(int, talker.preprocessor.tokenizer(p))] for p in prompts]
    generator = ck.Generator(talker, [*models.end_ids(talker), *stop])
    assert [(a.text, len(a.tokens)) for a in generator(ids, NEW)] == expected
    monkeypatch.setattr("cat_keras.decoding.predictor.supported", lambda model: False)
    assert [(p.text, p.n_answer) for p in ck.Predictor(talker, **settings)(asked)] == expected


@pytest.mark.parametrize(
    ("stop", "message"),
    [("\n\n", "list"), ([""], "not empty"), ([1], "is of type str"), (["a", b"b"], "is of type str")],
)
def test_stop_strings_are_texts_in_a_list(small, large, stop, message):
    for make in (
        ck.Predictor,
        lambda m, **k: ck.Cascade([m, large], **k),
        lambda m, **k: ck.SpeculativeCascade(m, m, **k),
    ):
        with pytest.raises(CatKerasError, match=message):
            make(small, stop=stop)


def test_a_saved_cascade_keeps_its_stop_strings(small, large, tmp_path):
    ck.Cascade([small, large], thresholds=[-1.0], stop=("\n",), max_new_tokens=3).save(tmp_path / "c")
    assert ck.Cascade.load(tmp_path / "c").predictors[1]._endings.strings == ("\n",)
