"""A training that spans several hosts: a worker on each, which `tf.distribute` joins to one.

Ray reserves the places of all of them together (a placement group), and `TF_CONFIG` tells each where the others are.
All take the same steps and end with the same weights; only the first writes.
"""

import json
import socket
from collections.abc import Sequence

from benchmarks.planning.graph import Job
from benchmarks.running.cluster.box import Held
from benchmarks.running.cluster.joining import first_line
from benchmarks.running.cluster.worker import Outcome, perform


def together(held: Held, reports, jobs: Sequence[Job], hosts: int, options: dict) -> Outcome:
    """Does jobs, one after the other, each on several hosts at once.

    Args:
        held, reports, jobs: as for `worker.perform`. hosts: how many. options: of a Ray task, what each host gives.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    amounts = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options["memory"]}
    if kind := options.get("accelerator_type"):
        amounts[f"accelerator_type:{kind}"] = 0.001
    group = placement_group([{name: n for name, n in amounts.items() if n}] * hosts, strategy="STRICT_SPREAD")
    running = []
    try:
        ray.get(group.ready())
        places = [
            options | {"max_retries": 0, "scheduling_strategy": PlacementGroupSchedulingStrategy(group, i)}
            for i in range(hosts)
        ]
        addresses = ray.get([ray.remote(_address).options(**place).remote() for place in places])
        for index, place in enumerate(places):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            # Another environment is another process: TensorFlow is told of its cluster when it starts.
            task = ray.remote(perform).options(**place, runtime_env={"env_vars": {"TF_CONFIG": json.dumps(config)}})
            running.append(task.remote(held, reports, jobs))
        outcome = Outcome()
        while running and outcome.end == "done":
            ended, running = ray.wait(running)
            outcome = ray.get(ended[0])
        return outcome
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        return Outcome("lost", f"{type(error).__name__}: {first_line(error)}")
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        remove_placement_group(group)


def _address() -> str:
    """An address of this host at which a worker of TensorFlow can listen."""
    import ray

    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"
