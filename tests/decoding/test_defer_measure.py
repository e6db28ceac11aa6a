"""A model with a token that asks for help: its answers are without the token, and its probability is measured."""

import functools

import numpy as np
import pytest

from cat_keras.data.encoding import prompts_within
from cat_keras.decoding.generation import Generator
from cat_keras.decoding.likelihoods import LikelihoodPredictor
from cat_keras.decoding.predictor import Predictor
from cat_keras.decoding.sampling import Sampler
from tests.forward import logprobs

pytestmark = pytest.mark.slow

SETTINGS = {"max_length": 48, "max_new_tokens": 4, "batch_size": 16}


@pytest.fixture(scope="module")
def eager(trained, new_model):
    """A model that would nearly always say the token (0) first: its embedding is that of every state's direction."""
    model = new_model("small", seed=4)
    model.set_weights(trained.get_weights())
    table = model.backbone.token_embedding.embeddings
    values = np.array(table)
    values[0] = 1.5 * values[5:].mean(0) + values[values.std(1).argmax()]
    table.assign(values)
    return model


@pytest.fixture(scope="module")
def predictor(eager):
    return Predictor(eager, measures=["defer"], **SETTINGS)


@pytest.fixture(scope="module")
def answers(predictor, examples):
    return predictor(examples)


@pytest.fixture(scope="module")
def log_p(eager):
    return functools.partial(logprobs, eager)


def test_options_are_scored_without_the_token(predictor, examples, answers, log_p):
    for example, answer in list(zip(examples, answers, strict=True))[:20:5]:
        (prompt,), (options,) = predictor._option_inputs([example])
        for option, total in zip(options, answer.option_logprobs, strict=True):
            rows = log_p(prompt + option)[len(prompt) - 1 : -1]
            whole = rows[np.arange(len(option)), option] - np.log1p(-np.exp(rows[:, 0]))
            assert total == pytest.approx(whole.sum(), abs=1e-3)
        assert answer.defer_logprob == pytest.approx(rows[0, 0], abs=1e-3)


def test_generated_answers_hold_no_such_token(predictor, examples, answers, log_p):
    free = [(e, a) for e, a in zip(examples, answers, strict=True) if not e.options]
    prompts, _ = prompts_within([e for e, _ in free], predictor.tokenizer, 44, predictor._turn)
    said = 0
    for prompt, made, (_, answer) in zip(prompts, predictor._generator(prompts, 4), free, strict=True):
        row = log_p(prompt)[-1]
        said += row.argmax() == 0
        assert 0 not in made.tokens and made.tokens[0] == 1 + row[1:].argmax()
        assert answer.defer_logprob == pytest.approx(row[0], abs=1e-3)
        assert answer.token_logprobs[0] == pytest.approx(row[1:].max() - np.log1p(-np.exp(row[0])), abs=1e-3)
    assert said  # without the mask, the token would be an answer


@pytest.mark.long
def test_sampled_answers_hold_no_such_token(eager, tokenizer):
    prompt = [tokenizer.start_token_id, 40, 41]
    generator = Generator(eager, sampler=Sampler(temperature=1.0, seed=3), measures=["defer"])
    made = generator([prompt] * 30, 3)
    assert all(0 not in each.tokens for each in made) and len({tuple(each.tokens) for each in made}) > 1
    assert all(len(each.defer) == len(each.tokens) for each in made)
    np.testing.assert_allclose([each.defer[0] for each in made], made[0].defer[0], rtol=1e-5)  # whatever was drawn


@pytest.mark.long
def test_without_the_measure_nothing_changes(eager, examples):
    assert all(p.defer_logprob is None for p in Predictor(eager, **SETTINGS)(examples[:2]))


@pytest.mark.long
def test_a_likelihood_predictor_measures_it_too(eager, examples, answers):
    predictor = LikelihoodPredictor(eager, measures=["defer"], **SETTINGS)
    for ours, theirs in zip(predictor(examples[:4]), answers[:4], strict=True):
        assert ours.defer_logprob == pytest.approx(theirs.defer_logprob, abs=1e-5)
        np.testing.assert_allclose(ours.option_logprobs, theirs.option_logprobs, atol=1e-4)
