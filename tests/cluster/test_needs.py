"""What jobs take of a cluster, and what is said where it lacks that."""

from types import SimpleNamespace

import pytest

from benchmarks.planning import graph, plan, profile
from benchmarks.planning.estimate import FLOAT, Estimate
from benchmarks.running.cluster import joining, needs
from cat_keras.errors import CatKerasError

NODE = {"CPU": 8.0, "GPU": 0.0, "memory": 16.0 * 2**30, "node:10.0.0.1": 1.0}
GPU_NODE = NODE | {"GPU": 8.0, "accelerator_type:H100": 1.0}


@pytest.fixture(scope="module")
def planned():
    todo = plan.make(profile.read("embedded", {"data.train": 20, "data.test": 4, "data.max_length": 64}))
    return graph.make(todo, todo.models(), lambda *_: False), Estimate(todo)


def test_memory_is_that_of_the_estimate(planned):
    jobs, estimate = planned
    found = needs.of(jobs, estimate, gpus=False)
    weights = FLOAT * estimate.size["large"].parameters
    assert found["", "encoded"] == needs.Needs(1, 0, needs.PROCESS)
    assert found["large", "train"].memory == int(needs.PROCESS + estimate.memory("large")[0])
    assert found["large", "predict"].memory == found["large", "teacher"].memory == needs.PROCESS + 2 * weights
    assert needs.of(jobs, None, gpus=False)["large", "train"].memory == needs.PROCESS


def test_with_gpus_each_model_takes_one_of_the_kind_that_is_asked_for(planned):
    found = needs.of(*planned, gpus=True, kind="H100")
    assert found["", "encoded"].gpus == 0 and found["small", "train"].gpus == 1
    options = {"num_cpus": 1, "num_gpus": 1, "accelerator_type": "H100"}
    assert found["small", "train"].options().items() > options.items()
    needs.check(found, [NODE, GPU_NODE])


@pytest.mark.parametrize(
    ("kind", "nodes", "said"),
    [
        ("", [NODE], "1 GPU and"),
        ("A100", [GPU_NODE], r"1 GPU of kind A100 and .* 8 GPUs \(H100\)"),
        ("", [GPU_NODE | {"memory": 2.0**29}], "nodes of up to 8 CPUs, 8 GPUs .H100. and 0.5 GiB"),
        ("", [], "nodes of up to 0 CPUs, 0 GPUs and 0.0 GiB"),
    ],
)
def test_what_is_missing_is_said(planned, kind, nodes, said):
    with pytest.raises(CatKerasError, match=f"Each job fits on a node of the cluster.*{said}"):
        needs.check(needs.of(*planned, gpus=True, kind=kind), nodes)


@pytest.mark.parametrize("on", ["spark", "", "ray:/x", "a b:1", "host", "ray://h:x", "9" * 5000])
def test_a_cluster_that_is_none(on):
    with pytest.raises(CatKerasError, match="A run is on ray, on auto, or on the address of a cluster"):
        joining.check(on)


def test_the_first_node_with_a_core_is_waited_for_and_no_longer(monkeypatch):
    head, reports = {"Alive": True, "Resources": {"memory": 1.0}}, []
    states = iter([[head], [head], [head, {"Alive": True, "Resources": NODE}]])
    ray = SimpleNamespace(nodes=lambda: [head])
    ray.util = SimpleNamespace(client=SimpleNamespace(ray=SimpleNamespace(is_connected=lambda: True)))
    cluster = joining.Cluster(ray, "ray")
    monkeypatch.setattr(joining.time, "sleep", lambda seconds: setattr(ray, "nodes", lambda: next(states)))
    cluster.wait_for_core(reports.append)
    assert reports == ["no node of the cluster has a core; waiting 120 s for one"]
    assert next(states, None) is None
    ray.nodes = lambda: [{"Alive": True, "Resources": NODE}]
    cluster.wait_for_core(reports.append)
    assert len(reports) == 1
    ray.nodes = lambda: [head]
    monkeypatch.setattr(joining.time, "sleep", lambda seconds: None)
    cluster.wait_for_core(reports.append, seconds=0.01)
    assert len(reports) == 2
