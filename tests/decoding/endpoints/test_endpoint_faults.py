"""A server that fails: it is asked again where that may help, else there is one error, which never holds the key."""

import json
import logging
import socket
import sys
import traceback

import pytest

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from tests.endpoint_server import KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PROMPTS = [Example(str(i), f"Say {i}\n", "it is so") for i in range(4)]
LIMITED = (429, {"Retry-After": "0.05"}, "slow down")
BROKEN = (500, {"Retry-After": "0.05"}, json.dumps({"error": {"message": f"oh, {KEY}"}}))
TEMPORARY = {"429": LIMITED, "500": BROKEN, "a cut connection": "cut", "a slow answer": "slow"}
FINAL = {
    "429": (LIMITED, r"status 429: slow down\. It was asked 2 times"),
    "500": (BROKEN, r"status 500: oh, …\. It was asked 2 times"),
    "a cut connection": ("cut", r"can be reached\. Received: RemoteProtocolError"),
    "a slow answer": ("slow", r"2 times none in 0\.5 s\. Give a longer timeout="),
    "half an answer": ("half", r"bytes of application/json that are no JSON"),
    "HTML": ("html", r"bytes of text/html that are no JSON\. Look at the address"),
    "no choices": ("no choices", "without choices"),
    "no usage": ("no usage", "does not say how many tokens it took"),
    "no log-probabilities": ("no logprobs", r"without log-probabilities of its tokens\. .*logprobs=False"),
    "JSON of something else": ((200, {}, "[1]"), "JSON that is no answer"),
    "a wrong address": ((404, {}, "{}"), r"status 404: .*ends in its version \(/v1\)"),
    "a wrong key": ((401, {}, json.dumps({"error": {"message": f"Bad key {KEY}"}})), "401: Bad key …. Look at the key"),
    "no such field": ((400, {}, "logprobs is not supported"), "can be the last stage, with logprobs=False"),
}


def patience(fault: str) -> dict:
    """Half a second where the server takes longer; else enough for a busy machine."""
    return {"timeout": 0.5} if fault == "a slow answer" else {}


@pytest.mark.parametrize("fault", TEMPORARY)
def test_a_request_that_fails_once_is_asked_again(server, endpoint, fault):
    server.faults = [TEMPORARY[fault]]
    assert len(endpoint(**patience(fault)).predictor()(PROMPTS)) == len(PROMPTS)
    assert len(server.requests) == len(PROMPTS) + 1


@pytest.mark.parametrize("fault", FINAL)
def test_a_request_that_fails_always_is_one_error_without_the_key(server, endpoint, fault, caplog):
    server.always, message = FINAL[fault]
    caplog.set_level(logging.DEBUG)
    predictor = endpoint(**patience(fault)).predictor()
    with pytest.raises(CatKerasError, match=message) as error:
        predictor(PROMPTS)
    assert len(server.requests) <= 2  # of the first prompt alone
    shown = "".join(traceback.format_exception(error.value))
    assert KEY not in shown + caplog.text + repr(predictor.model) + repr(vars(predictor))


def test_a_model_that_the_server_does_not_know(server, endpoint):
    with pytest.raises(CatKerasError, match=r"other at http.*The model 'other' does not exist\."):
        endpoint(model="other").predictor()(PROMPTS)


def test_no_server_at_all(server, endpoint):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(CatKerasError, match="can be reached"):
            endpoint(url=url, retries=0).predictor()(PROMPTS)


def test_a_key_that_is_not_there_is_said_before_anything_is_asked(server, endpoint, monkeypatch):
    predictor = endpoint().predictor()
    monkeypatch.delenv("LOOPBACK")
    for use in (predictor.check, lambda: predictor(PROMPTS)):
        with pytest.raises(CatKerasError, match="no variable LOOPBACK"):
            use()
    assert not server.requests


def test_no_other_key_of_the_environment_is_sent(server, endpoint, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID"):
        monkeypatch.setenv(name, "another-secret")
    endpoint(key="").predictor()(PROMPTS[:1])
    assert server.keys == ["Bearer none"]


def test_without_its_client_there_is_one_error(monkeypatch):
    from cat_keras.decoding.endpoints.endpoint import Endpoint

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(CatKerasError, match=r'pip install "cat-keras\[endpoint\]"'):
        Endpoint("http://127.0.0.1:8000/v1", "tiny").predictor().check()
