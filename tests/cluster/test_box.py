"""What a worker checks before its first job, and what is said where no cluster answers."""

import os
import types
from dataclasses import replace

import pytest

from benchmarks.running.cluster import joining
from benchmarks.running.cluster.box import Box, Held, versions
from benchmarks.running.cluster.member import MemberStore
from benchmarks.running.request import Request
from cat_keras.errors import CatKerasError


@pytest.fixture
def box(tmp_path):
    box = Box(Request(None, (), tmp_path / "runs"), None)
    box.write_mark()
    return box


def test_a_worker_like_the_driver_may_work(box):
    box.check("here")
    assert {"Python", "cat-keras", "tensorflow"} <= versions().keys()


@pytest.mark.parametrize("name", ["Python", "cat-keras", "tensorflow"])
def test_another_version_on_a_worker(box, name):
    other = replace(box, versions=box.versions | {name: "3.0"})
    with pytest.raises(
        CatKerasError, match=rf"one version of everything\. Received: {name} 3\.0 of the driver and .* on b"
    ):
        other.check("b")


def test_a_worker_that_does_not_see_the_folder(box, tmp_path):
    elsewhere = replace(box, request=replace(box.request, out=tmp_path / "elsewhere"))
    with pytest.raises(CatKerasError, match=r"or an address\. Received: .*elsewhere, where b does not see"):
        elsewhere.check("b")


def test_a_worker_has_the_variables_of_the_driver_and_no_others(box, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "of the worker")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # by Ray
    replace(box, environment=box.environment | {"XLA_FLAGS": "of the driver", "OMP_NUM_THREADS": None}).enter()
    assert os.environ["XLA_FLAGS"] == "of the driver" and "OMP_NUM_THREADS" not in os.environ


def test_what_several_train_together_is_written_by_the_first_alone(tmp_path):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "weights").write_text("same")

    first, second = (MemberStore(tmp_path, print, lambda: None, first) for first in (True, False))
    second.get("train", "a" * 64, build)
    assert not second.has("train", "a" * 64) and not built[0].exists()
    first.get("train", "a" * 64, build)
    second.get("train", "a" * 64, build)
    second.get("encoded", "b" * 64, build)
    assert len(built) == 3 and second.has("train", "a" * 64) and second.has("encoded", "b" * 64)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9\n    Python: 3.12.1\n"),
         "one version of Python and of Ray. Received: host:1: .* Ray: 2.9 Python: 3.12.1"),
        (ConnectionError("nobody\nhome"), r"a Ray cluster that answers. Received: host:1 \(ConnectionError: nobody\)"),
    ],
)  # fmt: skip
def test_a_cluster_that_cannot_be_joined(error, said):
    with pytest.raises(CatKerasError, match=said):
        raise joining._refused("host:1", error)


def test_a_busy_machine_has_three_attempts_to_start_a_cluster():
    ends, calls = [], []

    def init(address, **arguments):
        calls.append(address)
        if ends:
            raise ends.pop(0)

    ray, slow = types.SimpleNamespace(init=init, shutdown=lambda: None), "The current node timed out during startup."
    ends += [Exception(slow), Exception(slow)]
    joining._start(ray, "local", {})
    assert len(calls) == 3
    for problems, attempts in (([slow] * 3, 3), (["no room"], 1)):
        calls.clear()
        ends[:] = map(Exception, problems)
        with pytest.raises(Exception, match=problems[-1]):
            joining._start(ray, "local", {})
        assert len(calls) == attempts


@pytest.mark.enable_socket
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "ray://127.0.0.1"])
def test_an_address_at_which_nobody_listens(address):
    with pytest.raises(CatKerasError, match=r"a Ray cluster that answers\. Received: .*refused"):
        joining._probe(address)


def test_an_address_takes_the_place_of_the_folder(box, tmp_path):
    shared = replace(box, request=replace(box.request, out=tmp_path / "elsewhere", address=f"file://{tmp_path}/shared"))
    with pytest.raises(CatKerasError, match=r"or an address\. Received: file://.*shared, where b does not see"):
        shared.check("b")
    shared.write_mark()
    shared.check("b")
    shared.remove_mark()
    assert not [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]


def test_a_worker_may_have_another_folder_beside_an_address(box, tmp_path, monkeypatch):
    monkeypatch.setenv("CAT_KERAS_OUT", str(tmp_path / "own"))
    shared = replace(box, request=replace(box.request, address="memory://shared"))
    for each, out in ((box, box.request.out), (shared, tmp_path / "own")):
        ray = types.SimpleNamespace(get=lambda reference, each=each: each)
        assert Held(None).opened(ray).request.out == out
