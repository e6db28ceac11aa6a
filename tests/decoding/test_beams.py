"""Beam search beside one written down here without a cache, and beside all continuations there are."""

import itertools

import keras_hub
import numpy as np
import pytest

import cat_keras as ck
from cat_keras.decoding.beams import BeamSearch
from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import Generator
from cat_keras.errors import CatKerasError
from tests.decoding import families

WORDS, END, NEW = 6, 1, 4
PROMPTS = [np.random.default_rng(i).integers(2, WORDS, 1 + 7 * i % 12).tolist() for i in range(8)]


@pytest.fixture(scope="module", params=[0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def model(request):
    """A model of a vocabulary so small that all of its continuations can be listed."""
    backbone = keras_hub.models.GemmaBackbone(
        vocabulary_size=WORDS, num_layers=1, num_query_heads=2, num_key_value_heads=1, head_dim=8, hidden_dim=16,
        intermediate_dim=32,
    )  # fmt: skip
    return families.sharpened(keras_hub.models.GemmaCausalLM(backbone=backbone), request.param)


@pytest.fixture(scope="module")
def table(model):
    """A function: log-probabilities of the next token after a prompt and each of all continuations of it."""
    known = {}

    def after(prompt, tokens):
        key = tuple(prompt)
        if key not in known:
            tails = [t for n in range(NEW) for t in itertools.product(range(WORDS), repeat=n)]
            width = len(prompt) + NEW - 1
            x = np.array([[*prompt, *t] + [0] * (NEW - 1 - len(t)) for t in tails], np.int32)
            mask = np.array([np.arange(width) < len(prompt) + len(t) for t in tails], np.int32)
            logits = np.asarray(model({"token_ids": x, "padding_mask": mask})).astype(np.float64)
            last = logits[np.arange(len(tails)), [len(prompt) + len(t) - 1 for t in tails]]
            known[key] = dict(zip(tails, last - np.log(np.exp(last).sum(-1, keepdims=True)), strict=True))
        return known[key][tuple(tokens)]

    return after


def searched(prompt, beams, after):
    """The best of the beams: every beam that goes on with every token, and the best of all of them."""
    kept = [((), 0.0)]
    for _ in range(NEW):
        longer = [(t, total) for t, total in kept if t and t[-1] == END]
        for tokens, total in kept:
            if not (tokens and tokens[-1] == END):
                longer += [((*tokens, v), total + lp) for v, lp in enumerate(after(prompt, tokens))]
        kept = sorted(longer, key=lambda pair: -pair[1])[:beams]
    return kept[0]


@pytest.mark.parametrize("beams", [1, 2, pytest.param(4, marks=pytest.mark.long), WORDS**NEW])
@pytest.mark.parametrize("form", ["tight", "static", "whole"])
def test_no_beam_is_better_than_the_one_that_is_found(model, table, beams, form):
    if form != "tight" and beams != 4:
        pytest.skip("one number of beams is enough to compare the forms")
    read = model if form == "whole" else CachedModel(model, static=form == "static", tight=form == "tight")
    greedy = Generator(model, [END])
    answers = BeamSearch(read, Endings([END]), greedy, beams, rows=3 * beams)(PROMPTS, NEW)
    for prompt, answer, alone in zip(PROMPTS, answers, greedy(PROMPTS, NEW), strict=True):
        tokens, total = searched(prompt, beams, table)
        found = sum(answer.logprobs)
        assert found >= max(total, sum(alone.logprobs)) - 1e-4
        parts = [table(prompt, answer.tokens[:i])[token] for i, token in enumerate(answer.tokens)]
        np.testing.assert_allclose(answer.logprobs, parts, atol=1e-4)
        assert 1 <= len(answer.tokens) <= NEW
        assert END not in answer.tokens[:-1] and (answer.tokens[-1] == END or len(answer.tokens) == NEW)
        if abs(found - total) < 1e-4 and beams > 1:
            assert len(tokens) == len(answer.tokens)
        if beams == WORDS**NEW:  # all continuations
            assert found == pytest.approx(total, abs=1e-4)


def test_longer_limits_do_not_change_what_is_searched_within_shorter_ones(model, table):
    """The limit is part of the search: the best of two tokens is not the beginning of the best of four."""
    search = BeamSearch(CachedModel(model, tight=True), Endings([END]), Generator(model, [END]), WORDS**2)
    for prompt, answer in zip(PROMPTS, search(PROMPTS, 2), strict=True):
        pairs = itertools.product(range(WORDS), repeat=2)
        best = max(table(prompt, ())[a] + (0 if a == END else table(prompt, (a,))[b]) for a, b in pairs)
        assert sum(answer.logprobs) == pytest.approx(best, abs=1e-4)


@pytest.mark.slow
def test_a_predictor_with_beams_is_never_below_the_greedy_one(new_model, examples):
    model = families.sharpened(new_model("small"), 3)
    free = [e for e in examples if not e.options]
    settings = {"max_length": 48, "max_new_tokens": 6, "batch_size": 20}
    totals, alone = [], ck.Predictor(model, **settings)
    for beams in (1, 2, 4):
        predictor = ck.Predictor(model, beams=beams, **settings)
        answers = predictor(free)
        assert all(a.n_answer == len(a.token_logprobs) <= 6 for a in answers)
        totals.append([sum(a.token_logprobs) for a in answers])
        read, one = alone.flops.forward(answers[0].n_prompt, 0), alone.flops.forward(answers[0].n_prompt, 6)
        if answers[0].n_answer == 6:
            assert answers[0].flops == pytest.approx(read + beams * (one - read))
    assert (np.array(totals[1:]) >= np.array(totals[0]) - 1e-4).all() and np.max(totals[2]) > np.max(totals[0]) - 1e-4
    assert np.mean(totals[2]) > np.mean(totals[0])
    stop = ck.Predictor(model, beams=2, stop=["a"], **settings)(free)
    assert not any("a" in p.text for p in stop)
    for wrong in ({"beams": 0}, {"beams": 3, "measures": ("entropy",)}, {"beams": 3, "sampler": ck.Sampler(1.0)}):
        with pytest.raises(CatKerasError, match=r"beams( is|=)"):
            ck.Predictor(model, **settings, **wrong)
