"""Which strategy is chosen, and what is said where it cannot be."""

import json
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from cat_keras.errors import CatKerasError
from cat_keras.training import distribution


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tpu(monkeypatch):
    """A slice of eight chips, as far as TensorFlow's constructors go; what they were called with."""
    calls = []
    strategy = SimpleNamespace(num_replicas_in_sync=8)
    resolver = lambda tpu: calls.append(("resolve", tpu)) or "resolver"  # noqa: E731
    monkeypatch.setenv("TPU_NAME", "local")
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda r: calls.append(("connect", r)))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda r: calls.append(("initialize", r)))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda r: calls.append(("strategy", r)) or strategy)
    return calls


@pytest.mark.parametrize("name", ["auto", "tpu"])
def test_a_tpu_is_connected_initialised_and_taken(tpu, name):
    place = distribution.choose(name)
    assert (place.name, place.replicas, place.workers, place.chief) == ("tpu", 8, 1, True)
    assert [call for call, _ in tpu] == ["resolve", "connect", "initialize", "strategy"]
    assert tpu[0][1] == "local"
    assert str(place).startswith("tpu, 8 replicas")


def test_without_anything_special_there_is_one_replica():
    place = distribution.choose()
    assert (place.name, place.replicas, place.chief) == ("none", 1, True)
    assert place.agree(True) and not place.agree(False)


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("mirorred", {}, "Unknown strategy 'mirorred'; did you mean mirrored"),
        ("tpu", {}, "Set TPU_NAME"),
        ("multi_worker", {}, "two addresses or more from TF_CONFIG.*Received: no TF_CONFIG"),
        ("auto", {"TF_CONFIG": "{"}, "TF_CONFIG is a JSON object. Received: '{'"),
        ("auto", {"TF_CONFIG": "[]"}, "TF_CONFIG is a JSON object"),
        (
            "multi_worker",
            {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}})},
            r"a task of its cluster.*Received: \('worker', 2\)",
        ),
    ],
)
def test_what_is_not_there_is_said(monkeypatch, name, environment, message):
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(CatKerasError, match=message):
        distribution.choose(name)


def test_one_device_is_no_mirror():
    with pytest.raises(CatKerasError, match=r"joins two devices or more. Received: \['CPU:0'\]"):
        distribution.choose("mirrored", ["CPU:0"])


def test_other_backends_have_no_tf_strategy(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    assert distribution.choose("auto").name == "none"
    with pytest.raises(CatKerasError, match="Received: strategy mirrored on jax"):
        distribution.choose("mirrored")


def test_an_unknown_precision_is_an_error():
    with pytest.raises(CatKerasError, match="did you mean mixed_bfloat16"):
        distribution.set_precision("bfloat16")
