"""A prompt and its options as one row: what whole sequences say, in every family; no option sees another."""

import numpy as np
import pytest

from cat_keras.decoding import compiling, packed
from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.options import RankedScorer
from cat_keras.decoding.packed import PackedScorer, Row
from cat_keras.decoding.uncached import WholeScorer
from tests.decoding import backbones
from tests.decoding.backbones import PROMPTS, VOCABULARY, gemma
from tests.decoding.families import sharpened

RNG = np.random.default_rng(0)
OPTIONS = [[RNG.integers(2, VOCABULARY, 1 + (i + j) % 4).tolist() for j in range(1 + i % 4)] for i in range(9)]
FAMILIES = ("gemma", "gemma2", "gemma3", "llama", "llama2", "mistral", "qwen", "qwen2", "gpt2", "opt")


@pytest.fixture(scope="module")
def model():
    return sharpened(gemma())


@pytest.fixture(scope="module")
def expected(model):
    return WholeScorer(model, 16).options(PROMPTS, OPTIONS)


def assert_close(ours, theirs):
    for mine, others in zip(ours, theirs, strict=True):
        for a, b in zip(mine, others, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_row_is_a_prompt_and_what_its_options_read():
    row = Row.of(7, 0, [5, 6], [[1, 2], [3], [4, 8, 9]])
    assert row.tokens == [5, 6, 1, 4, 8]
    assert row.positions == [0, 1, 2, 2, 3]
    assert row.segments == [0, 0, 1, 3, 3]
    assert row.labels == [1, 2, 3, 4, 8, 9]
    assert row.places == [1, 2, 1, 1, 3, 4]  # the last token of the prompt predicts the first one of each option
    assert row.spans == [slice(0, 2), slice(2, 3), slice(3, 6)]


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in ("gemma", "gemma2") else pytest.mark.long) for name in FAMILIES]
)
def test_options_score_as_whole_sequences_do_in_every_family(family):
    of_family, done = sharpened(getattr(backbones, family)()), []
    found = PackedScorer(of_family)(PROMPTS, OPTIONS, done.append)
    assert sum(done) == len(PROMPTS)
    assert_close(found, WholeScorer(of_family, 16).options(PROMPTS, OPTIONS))


@pytest.mark.parametrize("limit", [{"rows": 3}, {"logits": VOCABULARY * 9}])
def test_small_batches_score_the_same(model, expected, limit):
    assert_close(PackedScorer(model, **limit)(PROMPTS, OPTIONS), expected)


def test_options_with_many_tokens_take_several_rows(model, expected, monkeypatch):
    monkeypatch.setattr(packed, "OPTION_TOKENS", 3)
    monkeypatch.setattr(packed, "TOKENS", 40)
    assert len(list(packed._rows(0, PROMPTS[3], OPTIONS[3]))) > 1
    done = []
    assert_close(PackedScorer(model)(PROMPTS, OPTIONS, done.append), expected)
    assert sum(done) == len(PROMPTS)


@pytest.mark.slow
def test_static_shapes_score_the_same_in_few_compilations(model, expected, monkeypatch):
    monkeypatch.setattr(compiling, "needs_static_shapes", lambda: True)
    scorer = PackedScorer(model)
    assert_close(scorer(PROMPTS, OPTIONS), expected)
    scorer(PROMPTS[:8], OPTIONS[:8])
    assert scorer.compilations <= 2


def test_greedy_options_are_those_of_the_other_way(model):
    theirs = RankedScorer(CachedModel(model))(PROMPTS, OPTIONS)
    assert_close(PackedScorer(model).ranked()(PROMPTS, OPTIONS), theirs)
    assert_close(PackedScorer(model, ranked=True)(PROMPTS, OPTIONS), theirs)


def test_states_and_the_defer_token_are_those_of_the_other_way(model):
    ways = PackedScorer(model, hidden=True, defer=3), RankedScorer(CachedModel(model), hidden=True, defer=3)
    (_, states, asks), (_, other_states, other_asks) = (way.measured(PROMPTS, OPTIONS) for way in ways)
    assert_close(states, other_states)
    np.testing.assert_allclose(asks, other_asks, atol=1e-4)
