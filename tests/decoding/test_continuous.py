"""Slots with a position each: what KerasHub generates, in every family; no slot stays free; few compilations."""

import numpy as np
import pytest
from keras import ops

from cat_keras.decoding import continuous, slots
from cat_keras.decoding.generation import Generator
from cat_keras.decoding.sampling import Sampler, most_probable
from tests.decoding.backbones import (
    END,
    PROMPTS,
    VOCABULARY,
    gemma,
    gemma2,
    gemma3,
    gpt2,
    llama,
    llama2,
    mistral,
    opt,
    qwen,
    qwen2,
)  # fmt: skip
from tests.decoding.families import sharpened
from tests.forward import logprobs

RAGGED = [np.random.default_rng(i).integers(2, VOCABULARY, n).tolist() for i, n in enumerate((1, 70, 3, 33, 2, 90, 32))]
STOPS = range(1, 9)  # so many that some answers end early
LIMITS = [9, 3, 20, 1, 40, 6, 12]


@pytest.fixture(scope="module")
def model():
    return sharpened(gemma())


@pytest.fixture(scope="module")
def generator(model):
    return Generator(model, STOPS, rows=2)


# -- equality --------------------------------------------------------------------------------------------------------


def generated(model, prompts, new) -> list[list[int]]:
    """The tokens that KerasHub's own `generate` continues prompts with, greedy."""
    model.compile(sampler="greedy", jit_compile=False)
    width = max(map(len, prompts)) + new
    tokens = np.array([p + [0] * (width - len(p)) for p in prompts], np.int32)
    mask = np.arange(width) < np.array([[len(p)] for p in prompts])
    inputs = {"token_ids": ops.convert_to_tensor(tokens), "padding_mask": ops.convert_to_tensor(mask)}
    out = np.asarray(model.make_generate_function()(inputs, stop_token_ids=[END])["token_ids"])
    answers = [row[len(p) : len(p) + new].tolist() for row, p in zip(out, prompts, strict=True)]
    return [a[: a.index(END) + 1] if END in a else a for a in answers]


def log_probabilities(model, prompt, tokens):
    """Those of the tokens after a prompt, from a pass over the whole sequence."""
    return logprobs(model, [*prompt, *tokens])[len(prompt) - 1 : -1][np.arange(len(tokens)), tokens]


@pytest.mark.long
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("family", [gemma, gemma2, gemma3, llama, llama2, mistral, qwen, qwen2, gpt2, opt])
def test_greedy_answers_are_those_of_generate(family, jit):
    model = sharpened(family())
    assert slots.supported(model)
    answers = Generator(model, [END], rows=4, jit=jit)(PROMPTS, 30)
    assert [a.tokens for a in answers] == generated(model, PROMPTS, 30)
    assert len({t for a in answers for t in a.tokens}) > 5
    for prompt, answer in zip(PROMPTS[:3], answers, strict=False):
        expected = log_probabilities(model, prompt, answer.tokens)
        np.testing.assert_allclose(answer.logprobs, expected, atol=1e-4)


# -- slots -----------------------------------------------------------------------------------------------------------


def test_ragged_prompts_and_answers_do_not_depend_on_company(generator):
    together = generator(RAGGED, LIMITS)
    assert all(len(a.tokens) <= n for a, n in zip(together, LIMITS, strict=True))
    assert min(len(a.tokens) for a in together) == 1
    for prompt, limit, answer in zip(RAGGED, LIMITS, together, strict=True):
        (alone,) = generator([prompt], limit)
        assert alone.tokens == answer.tokens
        np.testing.assert_allclose(alone.logprobs, answer.logprobs, atol=1e-4)
    assert generator.compilations == 1  # without XLA one serves every width


def test_a_prompt_takes_the_slot_of_an_answer_that_ended(model, generator):
    steps = generator.steps
    answers = generator(PROMPTS, 9)
    assert all(a.tokens[-1] in STOPS or len(a.tokens) == 9 for a in answers)
    assert not any(set(a.tokens[:-1]) & set(STOPS) for a in answers)
    needed, taken = sum(len(a.tokens) for a in answers), generator.steps - steps
    assert any(len(a.tokens) < 9 for a in answers)
    # Two slots are full until the last prompt joins; then one may run alone to the end of its answer.
    assert needed <= 2 * taken <= needed + 9
    done = []
    generator(PROMPTS, 3, done.append)
    assert sum(done) == len(PROMPTS) and generator(PROMPTS[:1], 0)[0].tokens == []


@pytest.mark.long
def test_each_width_is_compiled_once(model):
    generator = Generator(model, [], rows=4, jit=True)
    expected = Generator(model, [], rows=4, jit=False)
    for prompts, limits in ((RAGGED, LIMITS), (PROMPTS, 5), (RAGGED[::-1], LIMITS[::-1]), (PROMPTS[:1], 5)):
        answers = generator(prompts, limits)
        assert [a.tokens for a in answers] == [a.tokens for a in expected(prompts, limits)]
    assert generator.compilations == 2  # 64 and 128


def test_few_widths_are_compiled():
    assert [continuous.cache_width(n) for n in (1, 64, 65, 128, 200)] == [64, 64, 128, 128, 256]
    assert [continuous.cache_width(n) for n in (300, 600, 1030)] == [384, 768, 1536]


@pytest.mark.slow
def test_a_cache_is_widened_as_its_answers_grow(model):
    generator = Generator(model, [], rows=2)
    one, other = generator([PROMPTS[0], PROMPTS[1]], [150, 90])
    assert (len(one.tokens), len(other.tokens)) == (150, 90)
    (rest,) = generator([PROMPTS[0] + one.tokens[:60]], 1 << 7)
    assert rest.tokens[:90] == one.tokens[60:]
    assert generator.compilations == 1


@pytest.mark.slow
def test_samples_depend_on_the_seed_and_the_number_of_the_prompt_alone(model):
    few, many = (Generator(model, [END], Sampler(1.0, seed=3), rows=rows) for rows in (2, 9))
    answers = many(PROMPTS, 8)
    assert [a.tokens for a in few(PROMPTS, 8)] == [a.tokens for a in answers]
    longer = [*PROMPTS[:8], PROMPTS[8] + [5] * 20]  # which changes the order in which prompts join
    assert [a.tokens for a in few(longer, 8)][:8] == [a.tokens for a in answers][:8]


def test_the_first_of_equal_logits_is_chosen():
    logits = np.array([[0.0, 2.0, 2.0], [-np.inf, -np.inf, -np.inf], [3.0, 1.0, 2.0]], np.float32)
    assert np.asarray(most_probable(logits)).tolist() == [1, 0, 0]
