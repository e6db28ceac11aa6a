"""A server on loopback for each test; sockets are open for no other tests."""

import pytest

from tests.endpoint_server import KEY, MODEL, serving


@pytest.fixture
def server():
    pytest.importorskip("openai")
    with serving() as server:
        yield server


@pytest.fixture
def endpoint(server, monkeypatch):
    """A function: an endpoint of the server, with what differs."""
    from cat_keras.decoding.endpoints.endpoint import Endpoint

    monkeypatch.setenv("LOOPBACK", KEY)
    return lambda **changes: Endpoint(
        **{"url": server.url, "model": MODEL, "key": "LOOPBACK", "timeout": 10, "retries": 1} | changes
    )
