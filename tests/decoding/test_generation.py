"""Decoding with a cache of ours: what KerasHub generates, for its families; sampling; measures; and no row in vain."""

import numpy as np
import pytest
from keras import ops
from scipy import stats

from cat_keras.decoding import aligned
from cat_keras.decoding.aligned import SPREAD
from cat_keras.decoding.cache import CachedModel, supported
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import Generator
from cat_keras.decoding.options import OptionScorer
from cat_keras.decoding.predictor import Predictor
from cat_keras.decoding.sampling import Sampler, confidence, draw
from cat_keras.decoding.uncached import WholeGenerator, WholeScorer
from cat_keras.errors import CatKerasError
from tests.decoding.backbones import END, PROMPTS, VOCABULARY, gemma, gemma2, gemma3, gpt2, llama, qwen
from tests.decoding.families import sharpened
from tests.forward import logprobs

MEASURES = ("entropy", "margin", "hidden")  # those that need no tokenizer


@pytest.fixture(scope="module")
def model():
    return sharpened(gemma())


@pytest.fixture(scope="module")
def next_distribution(model):
    """A function: log-probabilities of the token after some tokens, from a whole forward pass."""
    return lambda tokens: logprobs(model, tokens)[-1]


# -- greedy ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def at_one_position(monkeypatch):
    """Generators of all families put rows at one position, as those without slots do."""
    monkeypatch.setattr("cat_keras.decoding.slots.supported", lambda model: False)


@pytest.mark.parametrize("family", [gemma, pytest.param(gemma3, marks=pytest.mark.long)])
def test_greedy_answers_are_those_of_keras_hub(family):
    model = sharpened(family())
    answers = Generator(model, [END])(PROMPTS, 7)
    expected = WholeGenerator(model, Endings([END]), WholeScorer(model, 16), batch_size=16)(PROMPTS, 7)
    assert [a.tokens for a in answers] == [a.tokens for a in expected]
    assert len({t for a in answers for t in a.tokens}) > 5
    for a, b in zip(answers, expected, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)


@pytest.mark.parametrize(
    "family", [gemma, *(pytest.param(f, marks=pytest.mark.long) for f in (gemma3, gpt2, llama, qwen, gemma2))]
)
def test_both_ways_of_batching_answer_alike(family, monkeypatch):
    model = sharpened(family())
    expected = Generator(model, [END], rows=9, measures=MEASURES)(PROMPTS, 6)
    monkeypatch.setattr("cat_keras.decoding.slots.supported", lambda model: False)
    assert supported(model)
    generator = Generator(model, [END], measures=MEASURES)
    assert isinstance(generator._batching, aligned.AlignedBatching)
    for a, b in zip(generator(PROMPTS, 6), expected, strict=True):
        assert a.tokens == b.tokens
        for name in ("logprobs", *MEASURES):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-4)


@pytest.mark.parametrize("limit", [2, pytest.param(256, marks=pytest.mark.long)])
@pytest.mark.parametrize("static", [False, pytest.param(True, marks=pytest.mark.long)])
def test_answers_do_not_depend_on_company(model, static, limit, at_one_position):
    expected = Generator(model, [END])(PROMPTS, 6)
    found = Generator(CachedModel(model, static=static), [END], rows=limit)(PROMPTS, 6)
    assert [a.tokens for a in found] == [a.tokens for a in expected]


def test_each_row_stops_by_itself_and_none_is_computed_in_vain(model, at_one_position):
    free = Generator(model, [])(PROMPTS, 9)
    stop = free[2].tokens[3]
    generator = Generator(model, [stop], rows=64)
    found = generator(PROMPTS, 9)
    for answer, all_of_it in zip(found, free, strict=True):
        cut = all_of_it.tokens.index(stop) + 1 if stop in all_of_it.tokens else 9
        assert answer.tokens == all_of_it.tokens[:cut]
    wanted = sum(len(a.tokens) for a in found)
    # Rows that go leave room when they are a tenth; prompts join with those up to SPREAD tokens shorter.
    assert wanted <= generator.computed <= wanted / 0.9 + SPREAD * len(PROMPTS)
    each = list(range(len(PROMPTS)))
    assert [a.tokens for a in generator(PROMPTS, each)] == [a.tokens[:n] for a, n in zip(found, each, strict=True)]


def test_one_compilation_serves_all_lengths_and_numbers_of_rows(model, at_one_position):
    generator = Generator(model, [END])
    for count, new in ((1, 3), (9, 5), (4, 12)):
        generator(PROMPTS[:count], new)
    assert generator.compilations == 2  # one reads prompts, one makes tokens


@pytest.mark.slow
def test_static_shapes_are_few(model, at_one_position):
    cached = CachedModel(model, static=True)
    Generator(cached, [END], rows=4)(PROMPTS, 12)
    assert cached.compilations <= 2 * 3  # 1, 2 and 4 rows, of one width


def test_measures_are_those_of_a_whole_forward_pass(model, next_distribution):
    answer = Generator(model, [END], measures=MEASURES)(PROMPTS, 5)[3]
    tokens, states = list(PROMPTS[3]), []
    for i, token in enumerate(answer.tokens):
        log_p = next_distribution(tokens)
        first, second = np.sort(np.exp(log_p))[[-1, -2]]
        assert answer.logprobs[i] == pytest.approx(log_p[token], abs=1e-4)
        assert answer.entropy[i] == pytest.approx(-(np.exp(log_p) * log_p).sum(), abs=1e-4)
        assert answer.margin[i] == pytest.approx(first - second, abs=1e-4)
        x = np.asarray([tokens], np.int32)
        states.append(np.asarray(model.backbone({"token_ids": x, "padding_mask": np.ones_like(x)}))[0, -1])
        tokens.append(token)
    np.testing.assert_allclose(answer.hidden, np.mean(states, axis=0), atol=1e-4)


def test_an_empty_prompt_and_settings_out_of_range_are_errors(model):
    with pytest.raises(CatKerasError, match=r"at least one token\. Received: none in prompt 1"):
        Generator(model, [END])([[3], []], 2)
    with pytest.raises(CatKerasError, match=r"measures=\['surprise'\]"):
        Generator(model, [END], measures=("surprise",))
    with pytest.raises(CatKerasError, match=r"top_p is a number in .*1\.5"):
        Sampler(temperature=1, top_p=1.5)
    with pytest.raises(CatKerasError, match=r"object, which has none"):
        CachedModel(object())


# -- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [Sampler(1.0), Sampler(0.5, top_k=7), Sampler(1.3, top_p=0.6), Sampler(2, 9, 0.8)])
def test_tokens_are_drawn_from_the_distribution_that_is_stated(sampler):
    logits = np.random.default_rng(0).normal(0, 2, 20).astype(np.float32)
    p = np.exp(logits.astype(np.float64) / sampler.temperature)
    p /= p.sum()
    order = np.argsort(-p)
    before = np.cumsum(p[order]) - p[order]
    dropped = order[(before >= sampler.top_p) | (np.arange(20) >= (sampler.top_k or 20))]
    p[dropped] = 0
    p /= p.sum()
    np.testing.assert_allclose(sampler.probabilities(logits[None])[0], p, atol=1e-6)
    uniforms = np.random.default_rng(1).random(20_000, dtype=np.float32)
    drawn = np.asarray(sampler.choose(ops.tile(logits[None], (20_000, 1)), uniforms))
    counts = np.bincount(drawn, minlength=20)
    assert not counts[dropped].any()
    assert stats.chisquare(counts[p > 0], 20_000 * p[p > 0]).pvalue > 1e-3


def test_no_draw_leaves_the_support():
    probs = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]] * 3, np.float32)
    assert np.asarray(draw(probs, np.array([0.0, 0.25, 1 - 2**-24], np.float32))).tolist() == [1, 3, 3]


@pytest.mark.slow
def test_samples_of_a_prompt_depend_on_the_seed_and_its_number_alone(model, at_one_position):
    sampler = Sampler(1.0, seed=3)
    together = Generator(model, [END], sampler)(PROMPTS, 8)
    apart = Generator(model, [END], sampler, rows=2)(PROMPTS, 8)
    assert [a.tokens for a in together] == [a.tokens for a in apart]
    other = Generator(model, [END], Sampler(1.0, seed=4))(PROMPTS, 8)
    assert [a.tokens for a in together] != [a.tokens for a in other]


def test_certainty_has_no_entropy():
    logits = np.array([[0.0, -np.inf, -np.inf], [5.0, 5.0, -np.inf]], np.float32)
    said = {k: np.asarray(v) for k, v in confidence(logits, np.array([0, 1], np.int32)).items()}
    np.testing.assert_allclose(said["entropy"], [0, np.log(2)], atol=1e-6)
    np.testing.assert_allclose(said["margin"], [1, 0], atol=1e-6)
    np.testing.assert_allclose(said["logprob"], [0, -np.log(2)], atol=1e-6)


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [gemma, pytest.param(gpt2, marks=pytest.mark.long)])
@pytest.mark.parametrize("static", [False, pytest.param(True, marks=pytest.mark.long)])
def test_options_score_as_whole_sequences_do(family, static):
    model = sharpened(family())
    rng = np.random.default_rng(0)
    options = [[rng.integers(2, VOCABULARY, 1 + (i + j) % 4).tolist() for j in range(2 + i % 3)] for i in range(9)]
    scorer = OptionScorer(CachedModel(model, static=static, tight=True), rows=8)
    done = []
    found = scorer(PROMPTS, options, done.append)
    assert sum(done) == len(PROMPTS)
    for mine, expected in zip(found, WholeScorer(model, 16).options(PROMPTS, options), strict=True):
        for a, b in zip(mine, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_large_vocabularies_make_small_batches(model):
    options = [[[5], [6]]] * len(PROMPTS)
    few = OptionScorer(CachedModel(model), logits=VOCABULARY * 2 * 5)
    assert max(map(len, few._batches(PROMPTS, options))) == 1
    many = OptionScorer(CachedModel(model), logits=VOCABULARY * 100)
    assert max(map(len, many._batches(PROMPTS, options))) > 1


# -- without a cache of ours -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_beam_search_finds_what_is_at_least_as_likely(trained, examples):
    free = [e for e in examples if not e.options]
    settings = {"max_length": 48, "max_new_tokens": 6, "batch_size": 20}
    greedy, beam = Predictor(trained, **settings)(free), Predictor(trained, beams=3, **settings)(free)
    assert len(beam) == len(free)
    better = [sum(b.token_logprobs) - sum(a.token_logprobs) for a, b in zip(greedy, beam, strict=True)]
    assert np.mean(better) > -1e-3
    with pytest.raises(CatKerasError, match="beams=3"):
        Predictor(trained, beams=3, measures=("entropy",), **settings)


@pytest.mark.slow
def test_a_family_without_a_cache_of_ours_answers_all_the_same(trained, examples, monkeypatch):
    expected = Predictor(trained, max_length=48, max_new_tokens=6)(examples)
    monkeypatch.setattr("cat_keras.decoding.predictor.supported", lambda model: False)
    found = Predictor(trained, max_length=48, max_new_tokens=6)(examples)
    assert [p.text for p in found] == [p.text for p in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.token_logprobs, b.token_logprobs, atol=1e-4)
