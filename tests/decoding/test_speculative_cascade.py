"""Two models that answer token by token: what comes out is the target's, whatever the batch, γ and the cache did."""

import numpy as np
import pytest
from scipy import stats

from cat_keras.data.encoding import tokenize
from cat_keras.data.records import Example
from cat_keras.decoding import compiling, slots, speculative
from cat_keras.decoding.sampling import Sampler
from cat_keras.decoding.speculative_cascade import SpeculativeCascade
from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs
from tests.forward import logprobs

NEW = 7


@pytest.fixture(scope="module")
def drafter(new_model, trained):
    """The large model with noise: agrees with it often and not always."""
    model, rng = new_model("small"), np.random.default_rng(0)
    for weight, value in zip(model.weights, trained.weights, strict=True):
        value = np.asarray(value)
        weight.assign(value + rng.normal(scale=0.3 * value.std() + 1e-3, size=value.shape))
    return model


@pytest.fixture(scope="module")
def prompts(examples):
    return [e.prompt for e in examples]


@pytest.fixture(scope="module")
def ids(tokenizer, prompts):
    return [[tokenizer.start_token_id, *tokens] for tokens in tokenize(tokenizer, prompts)]


@pytest.fixture(scope="module")
def lossless(drafter, trained):
    return SpeculativeCascade(drafter, trained, gamma=3, max_length=64)


@pytest.fixture(scope="module")
def answers(lossless, prompts):
    return lossless.generate(prompts, NEW)


def greedy(model, prompt, end, count=NEW):
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count and (len(tokens) == len(prompt) or tokens[-1] != end):
        tokens.append(int(logprobs(model, [tokens])[0, -1].argmax()))
    return tokens[len(prompt) :]


# -- greedy ----------------------------------------------------------------------------------------------------------


def test_lossless_is_exactly_the_large_model(answers, ids, trained, tokenizer):
    for answer, prompt in list(zip(answers, ids, strict=True))[::4]:
        assert answer.tokens == greedy(trained, prompt, tokenizer.end_token_id)
        assert answer.text == tokenizer.detokenize([t for t in answer.tokens if t != tokenizer.end_token_id])
    assert len({tuple(a.tokens) for a in answers}) > 5
    assert len({len(p) for p in ids}) > 3 and len({len(a.tokens) for a in answers}) > 1


def test_some_drafts_stand_and_some_do_not(answers):
    accepted, rejected, calls = (sum(getattr(a, n) for a in answers) for n in ("accepted", "rejected", "large_calls"))
    assert accepted > len(answers) / 2 and rejected > 5
    tokens = sum(len(a.tokens) for a in answers)
    assert calls < tokens and all(a.drafted == 3 * a.large_calls for a in answers)
    # Each call gives its accepted drafts and one more token, save those that end among their drafts.
    assert accepted + calls - len(answers) <= tokens <= accepted + calls


def test_company_changes_nothing(answers, lossless, ids):
    lossless.limit = 3
    alone = lossless.generate(ids, NEW)
    lossless.limit = 64
    counts = ("tokens", "large_calls", "drafted", "accepted", "rejected", "n_prompt", "flops")
    assert [[getattr(a, n) for n in counts] for a in answers] == [[getattr(a, n) for n in counts] for a in alone]


def test_alpha_goes_from_the_large_model_to_the_small_one(answers, drafter, trained, ids, tokenizer):
    cascade = SpeculativeCascade(drafter, trained, "lossy", gamma=1)
    accepted = []
    for alpha in (0.0, 0.5, 0.9, 1.0):
        cascade.use("lossy", alpha)
        found = cascade.generate(ids, NEW)
        accepted.append(sum(a.accepted for a in found) / sum(a.accepted + a.rejected for a in found))
        if alpha == 0:  # and another γ changes nothing
            assert [a.tokens for a in found] == [a.tokens for a in answers]
    assert accepted == sorted(accepted) and accepted[0] < accepted[-1] == 1
    for answer, prompt in list(zip(found, ids, strict=True))[::6]:
        assert answer.tokens == greedy(drafter, prompt, tokenizer.end_token_id)
        assert answer.large_calls == -(-len(answer.tokens) // 2)
    with pytest.raises(CatKerasError, match="alpha of lossy"):
        cascade.use("lossy", 1.5)


def test_cost_by_hand(lossless, drafter, trained, ids):
    """Two passes over the prompt but its last token, then a pass of 4 tokens by each model in every round."""
    prompt = ids[-1]
    (answer,) = lossless.generate([prompt], 1)
    assert (answer.large_calls, answer.drafted, len(answer.tokens)) == (1, 3, 1)
    expected = 0
    for model in (drafter, trained):
        count = costs.count(model)
        read = len(prompt) + 3
        expected += count.per_token * read + count.per_logit * 4 + count.per_context * read * (read + 1) / 2
    assert answer.flops == pytest.approx(expected) and answer.seconds > 0 and answer.n_prompt == len(prompt)


@pytest.mark.long
@pytest.mark.slow
def test_static_shapes_give_the_same(monkeypatch, answers, drafter, trained, ids):
    monkeypatch.setattr(compiling, "needs_static_shapes", lambda: True)
    static = SpeculativeCascade(drafter, trained, gamma=3, rows=16)
    assert [a.tokens for a in static.generate(ids[::3], NEW)] == [a.tokens for a in answers[::3]]
    static.generate(ids[1::3], NEW)
    assert static.compilations == 1


@pytest.mark.slow
def test_families_without_slots_answer_and_count_alike_at_one_position(monkeypatch, answers, drafter, trained, ids):
    monkeypatch.setattr(slots, "supported", lambda model: False)
    other = SpeculativeCascade(drafter, trained, gamma=3, max_length=64)
    counts = ("tokens", "large_calls", "drafted", "accepted", "rejected", "n_prompt")
    found = other.generate(ids, NEW)
    assert [[getattr(a, n) for n in counts] for a in found] == [[getattr(a, n) for n in counts] for a in answers]
    assert [a.flops for a in found] == pytest.approx([a.flops for a in answers])


# -- sampled ---------------------------------------------------------------------------------------------------------


def closed_form(small, large, prompt, rule, alpha, sampler, end):
    """Probability of each answer of one or two tokens: π of the first times π of the second given the first."""

    def pi(contexts):
        logits = [logprobs(m, contexts)[:, -1].astype(np.float32) for m in (small, large)]
        drawn = tuple(np.asarray(sampler.probabilities(x)) for x in logits)
        return np.asarray(speculative.target(rule, *map(np.exp, logits), np.float32(alpha), drawn))

    first = pi([prompt])[0]
    starts = [int(t) for t in np.flatnonzero(first)]
    second = pi([[*prompt, t] for t in starts])
    found = {(t,): first[t] for t in starts if t == end}
    found |= {
        (t, u): first[t] * row[u]
        for t, row in zip(starts, second, strict=True)
        for u in map(int, np.flatnonzero(row))
        if t != end
    }
    return {answer: p for answer, p in found.items() if p > 0}


ALPHAS = {"lossless": 0.0, "token-v2": 0.05, "lossy": 0.3, "chow": 0.9, "chow-log": 3.0, "diff": 0.02, "opt": 0.6,
          "token-v1": 0.1, "token-v3": 0.5}  # fmt: skip
QUICK = ("lossless", "token-v2")


@pytest.fixture(scope="module")
def sampled(drafter, trained):
    return SpeculativeCascade(drafter, trained, gamma=2, sampler=Sampler(temperature=1.5, top_k=3, seed=7), rows=1000)


@pytest.mark.parametrize(
    "rule", [r if r in QUICK else pytest.param(r, marks=[pytest.mark.slow, pytest.mark.long]) for r in ALPHAS]
)
@pytest.mark.slow
def test_sampled_answers_are_distributed_as_the_target(rule, sampled, drafter, trained, ids, tokenizer):
    """Answers of two tokens, thousands of them, against the product of closed forms; the models draft in earnest."""
    n, prompt, end, cascade = 2500, ids[3], tokenizer.end_token_id, sampled
    cascade.use(rule, ALPHAS[rule])
    answers = cascade.generate([prompt] * n, 2)
    expected = closed_form(drafter, trained, prompt, rule, cascade.alpha, cascade.sampler, end)
    found = dict.fromkeys(expected, 0)
    for answer in answers:
        found[tuple(answer.tokens)] += 1  # a KeyError is an answer that cannot be
    assert sum(expected.values()) == pytest.approx(1, abs=1e-4) and len(expected) > 4
    observed, probs = np.array(list(found.values())), np.array(list(expected.values()), np.float64)
    rare = n * probs < 5  # in one cell, as the test wants
    observed, probs = (np.append(x[~rare], [x[rare].sum()] * bool(rare.any())) for x in (observed, probs))
    assert stats.chisquare(observed, n * probs / probs.sum()).pvalue > 1e-4
    assert sum(a.accepted for a in answers) > 0 and (rule != "lossless" or sum(a.rejected for a in answers) > 0)


def test_draws_depend_on_seed_and_place_alone(sampled, ids):
    cascade = sampled
    cascade.use("token-v2", 0.05)
    one = [a.tokens for a in cascade.generate(ids[:12], NEW)]
    cascade.limit = 5
    assert [a.tokens for a in cascade.generate(ids[:12], NEW)] == one
    cascade.limit = 1000
    same = [a.tokens for a in cascade.generate([ids[0]] * 12, NEW)]
    assert same[0] == one[0] and len(set(map(tuple, same))) > 1


# -- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input(drafter, trained, lossless):
    from cat_keras.modeling import models

    stranger = models.build(
        models.train_tokenizer(["quite another text"], 300), layers=1, width=8, heads=1, feedforward=8
    )
    with pytest.raises(CatKerasError, match="share one tokenizer"):
        SpeculativeCascade(stranger, trained)
    with pytest.raises(CatKerasError, match="Unknown rule"):
        SpeculativeCascade(drafter, trained, "optimal")
    with pytest.raises(CatKerasError, match="gamma is a whole number in"):
        SpeculativeCascade(drafter, trained, gamma=0)
    with pytest.raises(CatKerasError, match="not empty"):
        lossless.generate(["Say 1 in words:\n", ""])
    with pytest.raises(CatKerasError, match="max_new_tokens is a whole number in"):
        lossless.generate(["Say 1 in words:\n"], 0)
    with pytest.raises(CatKerasError, match="leaves room"):
        lossless.generate(["Say 1 in words:\n"], 10_000)
    assert lossless.generate([], NEW) == []


def test_a_long_prompt_loses_its_beginning_and_is_counted(lossless, prompts, monkeypatch):
    monkeypatch.setattr(lossless, "max_length", 16)
    before = lossless.truncated
    answers = lossless.generate([prompts[0] * 3, prompts[-1]], 2)
    assert lossless.truncated >= before + 1 and answers[0].n_prompt == 14


def test_an_example_says_what_of_its_prompt_may_be_cut(lossless, prompts, monkeypatch):
    monkeypatch.setattr(lossless, "max_length", 16)
    whole = prompts[0] * 3
    example = Example("a", whole, "t", cut=((0, len(whole)),))
    by_text, by_example = (lossless._encode([query], 2)[0] for query in (whole, example))
    assert len(by_text) == 14 >= len(by_example)
    assert whole.startswith(lossless.tokenizer.detokenize(by_example[1:]))
    assert whole.endswith(lossless.tokenizer.detokenize(by_text[1:]))


def test_progress_counts_every_answer(lossless, ids):
    said = []
    lossless.generate(ids[:9], 3, progress=said.append)
    assert sum(said) == 9 and min(said) > 0


def test_every_rule_is_drawn_from():
    assert set(ALPHAS) == set(speculative.RULES)
