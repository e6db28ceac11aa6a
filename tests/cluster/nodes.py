"""Run by the tests beside it: a command on a Ray cluster of several nodes on this machine, of which one may be lost.

    python -m tests.cluster.nodes '{"nodes": [{"num_cpus": 1}], "kill": "text in the log"}' python -m benchmarks run …

The head is a node of its own without a core. `kill` names what the log says when the node that says so is to be killed,
`behead` when the head is, and `signal` when the command gets signal `number`. The exit status is that of the command.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path

STORE = 80 * 2**20  # bytes; the least that Ray takes


def said(log: Path) -> str:
    """What stands in a log; "" before there is one."""
    return log.read_text() if log.exists() else ""


@contextlib.contextmanager
def started(specs: list[dict]) -> Iterator[tuple]:
    """A cluster of a head without a core and of nodes as specified, for the time of the block: (cluster, nodes)."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    # A machine that runs tests is busy: an agent may start late, and a node that is there answer late. One that was
    # killed refuses at once.
    os.environ |= {"RAY_agent_register_timeout_ms": "300000", "RAY_health_check_timeout_ms": "60000"}
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a longer path would not do for the sockets in it
    from ray._private import node
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # where Ray notes the address of the head; with another folder it makes none

    # Ray gives a node 30 s to start; a machine that runs other tests beside may take longer.
    node.time = types.SimpleNamespace(**vars(time) | {"monotonic": lambda: time.monotonic() / 10})
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE, "temp_dir": folder}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster, [cluster.add_node(object_store_memory=STORE, **each) for each in specs]
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def main(setting: dict, command: list[str]) -> int:
    os.environ |= setting.get("environment", {})
    with started(setting["nodes"]) as (cluster, nodes):
        log = Path(setting["log"])
        before = len(said(log))  # by earlier runs
        process = subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": cluster.address})
        if text := setting.get("kill") or setting.get("behead") or setting.get("signal"):
            while process.poll() is None and text not in said(log)[before:]:
                time.sleep(0.05)
            if "signal" in setting:
                process.send_signal(setting["number"])
                return process.wait()
            line = said(log)[before:].partition(text)[2].partition("\n")[0]
            hit = next((each for each in nodes if "kill" in setting and each.node_id[:8] in line), cluster.head_node)
            cluster.remove_node(hit, allow_graceful=False)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
