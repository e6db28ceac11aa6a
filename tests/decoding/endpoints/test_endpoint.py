"""An endpoint as a value: what it may be, what of it is written down, and that a key never is."""

import json

import pytest

from cat_keras.data.chat import Chat
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.errors import CatKerasError

URL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "127.0.0.1:8000"}, "address like"),
        ({"url": "file:///etc/passwd"}, "address like"),
        ({"url": "http://127.0.0.1:port/v1"}, "address like"),
        ({"url": 8000}, "address like"),
        ({"model": ""}, "name of a model"),
        ({"price": 2.5}, "price is a pair"),
        ({"price": (1, -2)}, r"Each of price is a number in \[0, inf\). Received: -2"),
        ({"chat": "Be brief."}, "A chat is a ck.Chat"),
        ({"chat": Chat(template="{{ messages }}")}, "by its own template"),
        ({"chat": Chat(), "options": "likelihood"}, "no chat returns"),
        ({"logprobs": False, "options": "likelihood"}, "with logprobs=False"),
        ({"options": "guess"}, "one of likelihood, match"),
        ({"concurrency": 0}, "concurrency is a whole number"),
        ({"timeout": float("nan")}, "timeout is a number"),
        ({"retries": -1}, "retries is a whole number"),
        ({"fields": {"x": float("inf")}}, "JSON can hold"),
        ({"fields": {"logprobs": None}}, "sets and reads itself. Received: 'logprobs'"),
        ({"fields": ["x"]}, "JSON can hold"),
    ],
)
def test_settings_out_of_range_are_one_error(changes, message):
    with pytest.raises(CatKerasError, match=message):
        Endpoint(**{"url": URL, "model": "tiny"} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "sk-SECRET"},
        {"key": "mysecret"},
        {"url": "http://user:sk-SECRET@127.0.0.1/v1"},
        {"url": "http://user:sk-SECRET@127.0.0.1:x/v1"},
        {"url": "http://127.0.0.1/v1?code=sk-SECRET"},
        {"fields": {"api_key": "sk-SECRET"}},
        {"fields": {"Authorization": "Bearer sk-SECRET"}},
    ],
)
def test_a_secret_in_the_place_of_a_setting_is_refused_and_not_repeated(changes):
    with pytest.raises(CatKerasError, match=r"name of|variable") as error:
        Endpoint(**{"url": URL, "model": "tiny"} | changes)
    assert "secret" not in str(error.value).lower().replace("may be a secret", "")


def test_settings_come_back_from_json_and_hold_no_key(monkeypatch):
    monkeypatch.setenv("MINE", "sk-SECRET")
    endpoint = Endpoint(
        URL, "tiny", (1, 2.5), "MINE", Chat(system="Be brief."), fields={"max_tokens": None}, answers="a.jsonl"
    )
    config = json.loads(json.dumps(endpoint.config()))
    assert Endpoint.from_config(config) == endpoint and "answers" not in config
    assert "SECRET" not in repr(endpoint) + json.dumps(config)


def test_answers_have_the_same_identity_at_another_price_key_and_pace():
    one = Endpoint(URL, "tiny", (1, 2), "A", concurrency=1, timeout=1, retries=0)
    assert one.identity() == Endpoint(URL, "tiny").identity()
    others = [Endpoint(URL, "other"), Endpoint(URL + "/", "tiny"), Endpoint(URL, "tiny", chat=Chat()),
              Endpoint(URL, "tiny", options="match"), Endpoint(URL, "tiny", fields={"top_p": 0.5})]  # fmt: skip
    assert all(one.identity() != other.identity() for other in others)
