"""Answers: what KerasHub itself would generate, what a full forward pass says of it, and what it costs."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from cat_keras.data.encoding import tokenize
from cat_keras.data.records import Example
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs, models
from tests.forward import logprobs

NEW = 6


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor(trained, max_length=48, max_new_tokens=NEW, batch_size=16)


@pytest.fixture(scope="module")
def predictions(predictor, examples):
    return predictor(examples)


@pytest.fixture(scope="module")
def log_p(trained):
    """A function of tokens, see `forward.logprobs`."""
    return functools.partial(logprobs, trained)


@pytest.fixture(scope="module")
def ids(tokenizer):
    return lambda text: tokenize(tokenizer, [text])[0]


def greedy(prompt, log_p, end):
    """Greedy decoding without any cache: (tokens, their log-probabilities)."""
    tokens, found = list(prompt), []
    while len(found) < NEW and (not found or tokens[-1] != end):
        row = log_p(tokens)[-1]
        tokens.append(int(row.argmax()))
        found.append(row.max())
    return tokens[len(prompt) :], found


# -- generation ------------------------------------------------------------------------------------------------------


def test_greedy_answers_are_those_of_a_full_forward_pass(predictions, examples, tokenizer, ids, log_p):
    free = [(e, p) for e, p in zip(examples, predictions, strict=True) if not e.options]
    ended = 0
    for example, prediction in free[::3]:
        prompt = [tokenizer.start_token_id, *ids(example.prompt)]
        tokens, expected = greedy(prompt, log_p, tokenizer.end_token_id)
        assert prediction.text == tokenizer.detokenize([t for t in tokens if t != tokenizer.end_token_id])
        np.testing.assert_allclose(prediction.token_logprobs, expected, atol=1e-4)
        assert (prediction.n_prompt, prediction.n_answer) == (len(prompt), len(tokens))
        ended += tokens[-1] == tokenizer.end_token_id
    assert ended > len(free[::3]) / 2  # the end token is part of the answer, and most answers have it


def test_greedy_answers_are_those_of_keras_hub(trained, predictions, examples, tmp_path):
    models.save(trained, tmp_path / "preset")
    theirs = models.load(tmp_path / "preset")
    theirs.compile(sampler="greedy")
    free = [(e, p) for e, p in zip(examples, predictions, strict=True) if not e.options]
    answers = theirs.generate([e.prompt for e, _ in free], max_length=48, strip_prompt=True)
    assert len({p.text for _, p in free}) > 3
    for answer, (_, prediction) in zip(answers, free, strict=True):
        assert answer.startswith(prediction.text)
        assert prediction.n_answer == NEW or answer == prediction.text


def test_an_untrained_model_stops_at_max_new_tokens(small, examples):
    answers = Predictor(small, max_length=32, max_new_tokens=3, batch_size=4)(examples[-4:])
    assert all(p.n_answer == len(p.token_logprobs) <= 3 for p in answers)
    assert any(p.n_answer == 3 for p in answers)


# -- classification --------------------------------------------------------------------------------------------------


def test_the_best_option_by_its_log_likelihood_is_chosen(predictions, examples, tokenizer, ids, log_p):
    chosen = [(e, p) for e, p in zip(examples, predictions, strict=True) if e.options]
    assert len({p.text for _, p in chosen}) == 2
    for example, prediction in chosen[::3]:
        prompt, totals, tokens = [tokenizer.start_token_id, *ids(example.prompt)], [], []
        for option in example.options:
            answer = [*ids(option), tokenizer.end_token_id]
            rows = log_p([*prompt, *answer])[len(prompt) - 1 : -1]
            tokens.append(rows[np.arange(len(answer)), answer])
            totals.append(tokens[-1].sum())
        best = int(np.argmax(totals))
        np.testing.assert_allclose(prediction.option_logprobs, totals, atol=1e-4)
        np.testing.assert_allclose(prediction.token_logprobs, tokens[best], atol=1e-4)
        assert prediction.text == example.options[best]
        assert (prediction.n_prompt, prediction.n_answer) == (len(prompt), sum(map(len, tokens)))


def test_options_of_examples_do_not_meet(predictor, predictions, examples):
    """Each with its own options, in any order and company."""
    several = [
        Example(e.id, e.prompt, "", task=e.task, options=options)
        for e, options in zip(
            examples, [("yes", "no", "surely not"), ("surely not", "yes"), ("one", "yes")], strict=False
        )
    ]
    found = predictor(several)
    assert [len(p.option_logprobs) for p in found] == [3, 2, 2]
    for p, before, (mine, his) in zip(
        found, predictions, [((0, 2), (0, 1)), ((1, 0), (0, 1)), ((1,), (0,))], strict=False
    ):
        np.testing.assert_allclose(np.take(p.option_logprobs, mine), np.take(before.option_logprobs, his), atol=1e-4)


# -- both ------------------------------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_examples(predictor, predictions, examples):
    assert [(p.id, p.task) for p in predictions] == [(e.id, e.task) for e in examples]
    order = np.random.default_rng(0).permutation(len(examples))
    again = predictor([examples[i] for i in order])
    for p, i in zip(again, order, strict=True):
        assert (p.id, p.task, p.text) == (predictions[i].id, predictions[i].task, predictions[i].text)
        np.testing.assert_allclose(p.token_logprobs, predictions[i].token_logprobs, atol=1e-4)


@pytest.mark.parametrize("which", [slice(None), slice(0, 20), slice(20, 39), slice(3, 4)])
def test_progress_adds_up(predictor, examples, which):
    seen = []
    answers = predictor(examples[which], progress=seen.append)
    assert sum(seen) == pytest.approx(len(answers)) == pytest.approx(len(examples[which]))
    assert min(seen) > 0


def test_nothing_to_answer(predictor):
    assert predictor([]) == []


def test_every_answer_is_priced_and_timed(predictor, predictions):
    assert all(p.flops > 0 and p.seconds > 0 for p in predictions)
    for p in predictions:
        if not p.option_logprobs:
            assert p.flops == predictor.flops.forward(p.n_prompt, p.n_answer)


def test_cut_prompts_are_counted(trained, examples, ids):
    prompt = examples[0].prompt
    length = len(ids(prompt)) + 1  # with the start token
    tight = Predictor(trained, max_length=length + 3, max_new_tokens=4, batch_size=2)
    short, cut = tight([Example("short", "Say:\n", ""), Example("cut", prompt, "")])
    assert (short.n_prompt, cut.n_prompt) == (len(ids("Say:\n")) + 1, length - 1)
    assert tight.truncated == 1


def test_a_prompt_is_cut_alike_for_all_options_and_counted_once(trained, examples, ids, log_p, tokenizer):
    example = examples[0]
    prompt = ids(example.prompt)
    answers = [[*ids(o), tokenizer.end_token_id] for o in example.options]
    longest = max(map(len, answers))
    assert len({len(a) for a in answers}) == 2
    tight = Predictor(trained, max_length=len(prompt) + longest - 1, max_new_tokens=2, batch_size=2)
    (prediction,) = tight([example])
    kept = [tokenizer.start_token_id, *prompt[2:]]  # the beginning is lost, for the start token and one more
    assert prediction.n_prompt == len(kept) and tight.truncated == 1
    expected = [log_p([*kept, *a])[len(kept) - 1 : -1][np.arange(len(a)), a].sum() for a in answers]
    np.testing.assert_allclose(prediction.option_logprobs, expected, atol=1e-4)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("7", "", "", task="t"), "empty prompt in example t/7"),
        (Example("7", "", "", task="t", options=("a", "b")), "empty prompt in example t/7"),
        (Example("7", "Say:\n", "", task="t", options=("yes", "yes")), r"Received: \['yes', 'yes'\] in t/7"),
        (Example("7", "Say:\n", "", task="t", options=("yes", "")), r"Received: \['yes', ''\] in t/7"),
        (Example("7", "Say:\n", "", task="t", options=("yes", "no " * 60)), "tokens, context 48 in t/7"),
    ],
)
def test_examples_that_cannot_be_answered(predictor, examples, example, message):
    with pytest.raises(CatKerasError, match=message):
        predictor([examples[0], example])


@pytest.mark.parametrize("new", [16, 17])
def test_an_answer_leaves_room_for_a_prompt(small, new):
    with pytest.raises(CatKerasError, match=f"max_new_tokens={new}, max_length=16"):
        Predictor(small, max_length=16, max_new_tokens=new)


# -- costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["small", "large"])
def test_flops_of_gemma_by_hand(request, role):
    model = request.getfixturevalue(role)
    c = model.backbone.get_config()
    layers, w, ff, heads, d = (
        c[k] for k in ("num_layers", "hidden_dim", "intermediate_dim", "num_query_heads", "head_dim")
    )
    attention = 3 * w * heads * d + heads * d * w  # query, key, value; output
    feedforward = 2 * w * (ff // 2) + (ff // 2) * w  # two gates, of half the stated width each; down
    flops = costs.count(model)
    assert flops.per_token == 2 * layers * (attention + feedforward)
    assert flops.per_logit == 2 * w * c["vocabulary_size"]
    assert flops.per_context == layers * heads * (2 * d + 2 * d)  # q·k and weights·v
    # The usual rule: 2·N per token. N counts the tied embedding once, and normalisation scales, which are no products.
    scales = (2 * layers + 1) * w
    assert flops.per_token + flops.per_logit == 2 * (model.backbone.count_params() - scales)


def test_flops_of_gpt2_count_no_bias_and_no_position():
    import keras_hub

    layers, w, ff = 2, 16, 48
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=50, num_layers=layers, num_heads=4, hidden_dim=w, intermediate_dim=ff, max_sequence_length=32
    )
    flops = costs.count(SimpleNamespace(backbone=backbone))
    assert flops.per_token == 2 * layers * (4 * w * w + 2 * w * ff)
    assert flops.per_logit == 2 * w * 50
    assert flops.per_context == 4 * layers * w


FLOPS = costs.FlopCount(per_token=1000.0, per_logit=100.0, per_context=1.0)


@pytest.mark.parametrize(
    ("n_prompt", "n_answer", "expected"),
    [
        (1, 1, 1000 + 100 + 1),
        (3, 1, 3000 + 100 + (1 + 2 + 3)),
        (3, 2, 4000 + 200 + (1 + 2 + 3 + 4)),  # the second answer token is never fed back
        (3, 0, 3000 + 0 + 6),
    ],
)
def test_forward_by_hand(n_prompt, n_answer, expected):
    assert FLOPS.forward(n_prompt, n_answer) == expected
    assert FLOPS.forward(np.array([n_prompt] * 2), np.array([n_answer] * 2)).tolist() == [expected] * 2


@pytest.mark.parametrize("lengths", [[1], [3], [1, 1], [2, 3, 4], [5] * 7])
@pytest.mark.parametrize("n_prompt", [1, 9])
def test_classify_is_the_sum_over_options_that_share_the_prompt(n_prompt, lengths):
    alone = sum(FLOPS.forward(n_prompt, n) for n in lengths)
    shared = FLOPS.forward(n_prompt, 1)  # the prompt, and the distribution after it
    assert FLOPS.classify(n_prompt, lengths) == alone - (len(lengths) - 1) * shared


def test_an_unknown_architecture_is_named():
    class Odd:
        weights = ()

        def get_config(self):
            return {"num_layers": 2}

    with pytest.raises(CatKerasError, match=r"Odd with \['num_layers'\]"):
        costs.count(SimpleNamespace(backbone=Odd()))
