"""What models and cascades answer to requests of lm-evaluation-harness, by its definitions; lm_eval is not needed."""

import builtins
import random
from types import SimpleNamespace

import numpy as np
import pytest

from cat_keras.cascades.cascade import Cascade
from cat_keras.decoding.likelihoods import ContinuationPredictor, windows
from cat_keras.decoding.predictor import Predictor
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.grid import on_grid
from cat_keras.harness import lm_eval
from cat_keras.harness.engines import CascadeEngine, ModelEngine
from cat_keras.harness.requests import Settings, questions, settings

ARGUMENTS = {"max_length": 48, "max_new_tokens": 8}


def request(*arguments, doc=0, task="t"):
    """The attributes of an `lm_eval.api.instance.Instance` that count."""
    return SimpleNamespace(args=arguments, doc_id=doc, task_name=task)


def choices(examples):
    return [request(e.prompt, o, doc=n, task=e.task) for n, e in enumerate(examples) for o in e.options]


def whole_pass(model, tokens):
    """Log-probabilities (tokens, vocabulary) after each token, by one pass without a cache."""
    inputs = {"token_ids": np.array([tokens], np.int32), "padding_mask": np.ones((1, len(tokens)), np.int32)}
    logits = np.asarray(model(inputs), np.float64)[0]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def by_definition(model, context, continuation):
    """(log-likelihood, greedy) of the tokens behind those of the context alone, in the text of both."""
    tokenizer = model.preprocessor.tokenizer
    before = [tokenizer.start_token_id, *map(int, tokenizer(context.rstrip()))] if context.rstrip() else [
        tokenizer.start_token_id]  # fmt: skip
    whole = list(map(int, tokenizer(context + continuation)))
    after = whole[len(before) - 1 :]
    logprobs = whole_pass(model, before + after)[len(before) - 1 : -1]
    return logprobs[range(len(after)), after].sum(), bool((logprobs.argmax(-1) == after).all())


def a_greedy_pair(model, examples):
    """A context, and the token that greedy decoding writes after it where that is one of the whole text too."""
    tokenizer = model.preprocessor.tokenizer
    for example in examples:
        context = example.prompt.rstrip()
        ids = [tokenizer.start_token_id, *map(int, tokenizer(context))]
        token = int(whole_pass(model, ids)[-1].argmax())
        text = tokenizer.id_to_token(token).replace("\u2581", " ")
        if [*map(int, tokenizer(context + text))] == [*ids[1:], token]:
            return context, text
    raise AssertionError("no context has one")


def test_a_model_scores_continuations_as_the_harness_defines_them(small, examples):
    pairs = [("The heron has two legs.\nEven?\n", "yes"), ("The heron has two legs.", " Even"), ("", "yes"),
        (" \n", "surely not"), ("Say 4 in words:\n", "four"), a_greedy_pair(small, examples)]  # fmt: skip
    engine = ModelEngine(small, "lm-eval", ARGUMENTS)
    results = engine.loglikelihood([request(*pair, doc=n) for n, pair in enumerate(pairs)])
    for pair, (logprob, greedy) in zip(pairs, results, strict=True):
        expected, is_greedy = by_definition(small, *pair)
        assert logprob == pytest.approx(expected, abs=1e-4) and greedy == is_greedy, pair
    assert {greedy for _, greedy in results} == {True, False}
    assert [a.doc for a in engine.answers] == list(range(6)) and engine.truncated == 0
    assert all(a.stage == 0 and np.isnan(a.score) and a.flops > 0 for a in engine.answers)


def test_a_long_context_loses_its_beginning_alike_for_all_options(small):
    context, options = "Say 1 again and again in words:\n" * 4, ("yes", "surely not")
    engine = ModelEngine(small, "lm-eval", {"max_length": 24, "max_new_tokens": 4})
    results = engine.loglikelihood([request(context, option) for option in options])
    tokenizer = small.preprocessor.tokenizer
    ids = list(map(int, tokenizer(context.rstrip())))
    after = [list(map(int, tokenizer(context + option)))[len(ids) :] for option in options]
    kept = [tokenizer.start_token_id, *ids[-(24 - max(map(len, after))) :]]
    for continuation, (logprob, _) in zip(after, results, strict=True):
        logprobs = whole_pass(small, kept + continuation)[len(kept) - 1 : -1]
        assert logprob == pytest.approx(logprobs[range(len(continuation)), continuation].sum(), abs=1e-4)
    assert len(kept) + max(map(len, after)) == 24 + 1 and engine.truncated == 1
    with pytest.raises(CatKerasError, match="fits the context"):
        engine.loglikelihood([request("Say", " again" * 40)])
    for pair in (("Say", ""), ("Say 4 in words:\nfou", "r")):  # the last two letters make one token with others
        with pytest.raises(CatKerasError, match="has a token behind"):
            engine.loglikelihood([request(*pair)])


def test_windows_are_those_of_the_harness():
    """Its own example, and what it promises."""
    assert list(windows(range(10), -1, 4)) == [
        ([-1], [0, 1, 2, 3]), ([3], [4, 5, 6, 7]), ([5, 6, 7], [8, 9])]  # fmt: skip
    for count in range(9):
        for length in range(1, 6):
            pairs = list(windows(range(count), -1, length))
            assert [token for _, predicted in pairs for token in predicted] == list(range(count))
            assert all(len(context) + len(predicted) - 1 == min(length, count) for context, predicted in pairs)


def test_a_whole_text_is_the_sum_over_its_windows(small):
    texts = ["Say 1 again and again in words: one one one", "", "yes"]
    predictor = ContinuationPredictor(small, max_length=8, max_new_tokens=4)
    tokenizer = small.preprocessor.tokenizer
    for text, total in zip(texts, predictor.rolling(texts), strict=True):
        ids, expected = list(map(int, tokenizer(text))) if text else [], 0.0
        for context, predicted in windows(ids, tokenizer.start_token_id, 8):
            logprobs = whole_pass(small, context + predicted)[len(context) - 1 : -1]
            expected += logprobs[range(len(predicted)), predicted].sum()
        assert total == pytest.approx(expected, abs=1e-4)
    assert len(tokenizer(texts[0])) > 8
    with pytest.raises(CatKerasError, match="Whole texts"):
        ModelEngine(small, "cat-keras", {}).loglikelihood_rolling([request("yes")])


def test_scored_as_here_a_model_answers_as_its_predictor(small, examples):
    asked = examples[:20:3]
    engine = ModelEngine(small, "cat-keras", ARGUMENTS)
    results = iter(engine.loglikelihood(choices(asked)))
    predictions = Predictor(small, **ARGUMENTS)(asked)
    for example, prediction in zip(asked, predictions, strict=True):
        logprobs = [next(results)[0] for _ in example.options]
        assert logprobs == on_grid(prediction.option_logprobs).tolist()
        assert example.options[int(np.argmax(logprobs))] == prediction.text
    assert [a.flops for a in engine.answers] == [p.flops for p in predictions]


def test_a_family_without_a_cache_of_ours_is_scored_alike(small, monkeypatch):
    from cat_keras.decoding import predictor

    asked = [request("The heron has two legs.\nEven?\n", "yes"), request("", "surely not", doc=1)]
    expected = ModelEngine(small, "lm-eval", {}).loglikelihood(asked)
    monkeypatch.setattr(predictor, "supported", lambda model: False)
    for (logprob, greedy), (logprob_here, greedy_here) in zip(
        expected, ModelEngine(small, "lm-eval", {}).loglikelihood(asked), strict=True
    ):
        assert logprob_here == pytest.approx(logprob, abs=1e-4) and greedy_here == greedy


@pytest.fixture(scope="module")
def cascade(small, large, examples):
    scores = [max(p.option_logprobs) for p in Predictor(small, **ARGUMENTS)(examples[:20:3])]
    return Cascade([small, large], "chow-sum", [float(np.median(scores))], **ARGUMENTS)


@pytest.mark.slow
def test_a_cascade_decides_per_question_whatever_the_order_of_requests(cascade, examples):
    asked = examples[:20:3]
    requests = choices(asked)
    order = random.Random(0).sample(range(len(requests)), len(requests))
    engine = CascadeEngine(cascade)
    results = dict(zip(order, engine.loglikelihood([requests[i] for i in order]), strict=True))
    expected, rows = cascade(asked), iter(range(len(requests)))
    assert {answer.stage for answer in expected} == {0, 1}
    answered = {answer.doc: answer for answer in engine.answers}
    of_stages = [predictor(asked) for predictor in cascade.predictors]
    for doc, (example, answer) in enumerate(zip(asked, expected, strict=True)):
        of_stage = of_stages[answer.stage][doc].option_logprobs
        assert [results[next(rows)][0] for _ in example.options] == pytest.approx(of_stage, abs=1e-3)
        for name in ("stage", "text", "n_prompt", "n_answer", "flops"):
            assert getattr(answered[doc], name) == getattr(answer, name)
    assert cascade.predictors[0].__class__ is Predictor  # the cascade itself is as it was


def test_repeated_requests_are_one_question(cascade, examples):
    requests = choices(examples[:2])
    engine = CascadeEngine(cascade)
    results = engine.loglikelihood([r for r in requests for _ in range(3)])
    assert len(engine.answers) == 2 and results[::3] == results[1::3] == results[2::3]
    contexts = [request("a", "x"), request("a", "y"), request("b", "x"), request("b", "y"), request("a", "x", doc=1)]
    assert [(q.doc, q.example.prompt, q.places) for q in questions(contexts)] == [
        (0, "a", [0, 1]), (0, "b", [2, 3]), (1, "a", [4])]  # fmt: skip
    assert len({q.example.id for q in questions(contexts)}) == 3


def test_what_a_cascade_has_not_is_refused(cascade, small, large, examples):
    engine = CascadeEngine(cascade)
    with pytest.raises(CatKerasError, match="decides between options"):
        engine.loglikelihood([request("The heron has", " two")])
    with pytest.raises(CatKerasError, match="acc_mutual_info"):
        engine.loglikelihood([request("", "yes"), request("", "no")])
    with pytest.raises(CatKerasError, match="no likelihood of a text"):
        engine.loglikelihood_rolling([request("The heron")])
    with pytest.raises(CatKerasError, match="needs thresholds"):
        CascadeEngine(Cascade([small, large]))
    calibrated = Cascade([small, large], **ARGUMENTS)
    calibrated.calibrate(examples[:4], max_deferral=0.5)
    fresh = CascadeEngine(calibrated)
    assert len(fresh.loglikelihood(choices(examples[4:5]))) == 2
    with pytest.raises(CatKerasError, match="disjoint"):
        fresh.loglikelihood(choices(examples[:2]))


def test_settings_of_a_task_file():
    assert settings({}) == Settings((), None, None)
    assert settings({"until": "\n", "max_gen_toks": 7, "do_sample": False, "temperature": 0.7}).sampler == GREEDY
    assert settings({"until": ["\n", ""], "max_tokens": 7}) == Settings(("\n",), 7, None)
    assert settings({"do_sample": True}, seed=3).sampler == Sampler(1.0, seed=3)
    assert settings({"temperature": 0.5, "top_k": 4, "top_p": 0.9}).sampler == Sampler(0.5, 4, 0.9)
    assert settings({"do_sample": True, "temperature": 0}).sampler == GREEDY
    with pytest.raises(CatKerasError, match="num_beams"):
        settings({"num_beams": 4})


def test_answers_end_at_the_texts_of_their_task(small, examples):
    asked = examples[20:]
    engine = ModelEngine(small, "lm-eval", ARGUMENTS | {"stop": ["e"]})
    requests = [request(e.prompt, {"until": ["r"], "max_gen_toks": 5 + n % 2}, doc=n) for n, e in enumerate(asked)]
    texts = engine.generate_until(requests)
    for odd in range(2):
        alone = Predictor(small, max_length=48, max_new_tokens=5 + odd, stop=["e", "r"])(asked[odd::2])
        assert texts[odd::2] == [prediction.text for prediction in alone]
    assert not any({"e", "r"} & {*text} for text in texts) and any(texts)
    assert sorted(a.doc for a in engine.answers) == list(range(20))


def test_repeated_samples_differ_and_come_again(small, examples):
    requests = [request(examples[20].prompt, {"do_sample": True, "temperature": 2.0, "max_gen_toks": 4})] * 8
    engine = ModelEngine(small, "lm-eval", ARGUMENTS)
    texts = [engine.generate_until(requests) for _ in "ab"]
    assert texts[0] == texts[1] and len({*texts[0]}) > 4


def test_a_cascade_generates_as_it_does_alone(cascade, examples):
    asked = examples[20:24]
    engine = CascadeEngine(cascade)
    texts = engine.generate_until([request(e.prompt, {"until": []}, doc=n) for n, e in enumerate(asked)])
    expected = cascade(asked)
    assert texts == [answer.text for answer in expected]
    assert [a.stage for a in engine.answers] == [answer.stage for answer in expected]


def test_without_the_package_the_error_says_how_to_get_it(small, monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **more):
        if name.partition(".")[0] == "lm_eval":
            raise ModuleNotFoundError("No module named 'lm_eval'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(__import__("sys").modules, "cat_keras.harness.language_model", raising=False)
    with pytest.raises(CatKerasError, match=r"pip install \"cat-keras\[lm-eval\]\""):
        lm_eval.of(small)
