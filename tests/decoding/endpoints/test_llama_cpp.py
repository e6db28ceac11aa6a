"""Endpoints against the server of llama.cpp, on loopback: what a real one answers, and what it cannot do."""

import math

import pytest

from cat_keras.cascades.cascade import Cascade
from cat_keras.data.chat import Chat
from cat_keras.data.records import Example
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.errors import CatKerasError
from tests.decoding.endpoints import gguf_model

xllamacpp = pytest.importorskip("xllamacpp", reason="pip install xllamacpp gguf")
pytest.importorskip("gguf")
pytest.importorskip("openai")
pytestmark = [pytest.mark.long, pytest.mark.allow_hosts(["127.0.0.1"])]

KEY = "sk-llama-0123456789"
PROMPTS = [Example(str(i), f"Say {i % 10}{' again' * (i // 10)} in words:\n", "one") for i in range(40)]


@pytest.fixture
def serve(proto, tmp_path, monkeypatch):
    """A function: the endpoint of a llama of so many layers, which demands a key."""
    monkeypatch.setenv("LLAMA", KEY)
    servers = []

    def start(layers=1, **changes):
        path = tmp_path / f"{layers}.gguf"
        gguf_model.write(path, proto, layers=layers, seed=layers)
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel = str(path), 4 * gguf_model.CONTEXT, 4
        params.cpuparams.n_threads, params.warmup, params.verbosity, params.api_keys = 1, False, -1, [KEY]
        servers.append(xllamacpp.Server(params))
        url = servers[-1].listening_address + "/v1"
        return Endpoint(url, f"llama-{layers}", **{"key": "LLAMA", "price": (layers, 2 * layers)} | changes)

    yield start
    servers.clear()


@pytest.mark.parametrize("chat", [None, Chat(system="Be brief.")])
def test_answers_have_log_probabilities_and_usage_and_come_back_the_same(serve, chat):
    predictor = serve(chat=chat).predictor(("token_logprobs", "token_margins"), max_new_tokens=5)
    first, second = predictor(PROMPTS), predictor(PROMPTS)
    assert [(p.id, p.text) for p in first] == [(e.id, p.text) for e, p in zip(PROMPTS, second, strict=True)]
    assert len({p.text for p in first}) > 5
    for prediction in first:
        assert 0 < prediction.n_answer <= 5 < prediction.n_prompt and prediction.seconds > 0
        assert len(prediction.token_logprobs) <= 5 and all(value < 0 for value in prediction.token_logprobs)
        assert all(0 <= margin <= 1 for margin in prediction.token_margins)
    # With several requests under way, sums are in another order, and the last digits differ.
    assert first[0].token_logprobs == pytest.approx(second[0].token_logprobs, abs=1e-3)


def test_a_shorter_answer_is_the_beginning_of_a_longer_one(serve):
    """With the same log-probabilities, but for bytes at its end that are no whole character, which have none."""
    endpoint = serve()
    long = endpoint.predictor(max_new_tokens=4)(PROMPTS)
    short = endpoint.predictor(max_new_tokens=1)(PROMPTS)
    pairs = [(a, b) for a, b in zip(long, short, strict=True) if b.text.strip("\ufffd")]
    assert len(pairs) > len(PROMPTS) // 2
    for whole, part in pairs:
        assert whole.text.startswith(part.text)
        assert part.token_logprobs == pytest.approx(whole.token_logprobs[:1], abs=1e-3)


def test_stop_texts_end_answers(serve):
    endpoint = serve()
    whole = endpoint.predictor(max_new_tokens=6)(PROMPTS)
    stop = next(p.text for p in whole if len(p.text) > 3)[2]
    for before, after in zip(whole, endpoint.predictor(max_new_tokens=6, stop=[stop])(PROMPTS), strict=True):
        assert after.text == before.text.partition(stop)[0].strip()
        assert len(after.token_logprobs) <= len(before.token_logprobs)


def test_two_real_endpoints_are_calibrated_and_answer(serve):
    small, large = serve(1), serve(2)
    right = large.predictor((), max_new_tokens=4)(PROMPTS)
    labelled = [Example(e.id, e.prompt, p.text) for e, p in zip(PROMPTS, right, strict=True) if p.text]
    cascade = Cascade([small, large], max_new_tokens=4)
    chosen = cascade.calibrate(labelled[:30], min_quality=0.9)
    assert chosen.quality >= 0.9 and chosen.alone_quality[1] == 1.0 and 0 < chosen.alone_cost[0] < chosen.alone_cost[1]
    answers = cascade(labelled[30:])
    assert all(a.price > 0 and math.isnan(a.flops) for a in answers)


def test_a_server_that_ignores_echo_is_found_out(serve):
    examples = [Example("0", "Even?\n", "yes", options=("yes", "surely not"))]
    endpoint = serve()
    with pytest.raises(CatKerasError, match="does not know `echo`"):
        endpoint.predictor(("option_logprobs",))(examples)
    (prediction,) = endpoint.predictor(chat=Chat())(examples)
    assert prediction.token_logprobs


def test_a_wrong_key_and_a_prompt_beyond_its_context_are_one_error(serve, monkeypatch):
    endpoint = serve()
    long = [Example("0", "Say it again. " * 100, "")]
    with pytest.raises(CatKerasError, match=r"status 400: .*exceeds the available context size"):
        endpoint.predictor()(long)
    monkeypatch.setenv("LLAMA", "sk-other")
    with pytest.raises(CatKerasError, match=r"status 401: Invalid API Key\. Look at the key in LLAMA") as error:
        endpoint.predictor()(PROMPTS)
    assert "sk-other" not in str(error.value)


def test_a_local_model_defers_to_it(serve, small, examples):
    cascade = Cascade([small, serve(options="match")], prices=[(0.1, 0.1), None], max_length=48, max_new_tokens=3)
    chosen = cascade.calibrate(examples[20:36], max_deferral=0.5)
    answers = cascade(examples[36:] + examples[:8])
    assert chosen.cost > 0 and {a.stage for a in answers} <= {0, 1} and all(a.price > 0 for a in answers)
