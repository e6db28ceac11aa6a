"""Run by the tests beside it: a command on a Ray cluster of several nodes on this machine, of which one may be lost.

    python -m tests.cluster.nodes '{"nodes": [{"num_cpus": 1}], "kill": "text in the log"}' python -m benchmarks run …

The head is a node of its own without a core. `kill` names what the log says when the node that says so is to be killed,
`behead` when the head is. The exit status is that of the command.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STORE = 80 * 2**20  # bytes; the least that Ray takes


def main(setting: dict, command: list[str]) -> int:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ |= setting.get("environment", {})
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a longer path would not do for the sockets in it
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE, "temp_dir": folder}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(object_store_memory=STORE, **node) for node in setting["nodes"]]
        process = subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": cluster.address})
        if text := setting.get("kill") or setting.get("behead"):
            log = Path(setting["log"])
            while process.poll() is None and not (log.exists() and text in log.read_text()):
                time.sleep(0.05)
            line = log.read_text().partition(text)[2].partition("\n")[0]
            hit = next((node for node in nodes if node.node_id[:8] in line), cluster.head_node)
            cluster.remove_node(hit, allow_graceful=False)
        return process.wait()
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
