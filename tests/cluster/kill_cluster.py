"""Runs on a Ray cluster of two nodes, of which something is killed at random instants: where do all of them end?

    python -m tests.cluster.kill_cluster FOLDER KILLS [--seed 2406]

Each round takes a fresh folder and a fresh cluster. Again and again a worker, a node or the driver is killed with
SIGKILL; a node is replaced by a new one, the driver is started again, and the last one finishes. A driver may also end
by itself with an error of one sentence, e.g. where a new node does not come up; it is counted, and started again beside
another node. FOLDER keeps what was done: called again, it goes on until KILLS are reached.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cat_keras.storage import store
from tests import tiny
from tests.cluster import nodes
from tests.faults.outcome import differences, outcome

SHARES = {"worker": 4, "node": 2, "driver": 2}  # of the kills
ROUND = 6  # kills of a round, at most
LONGEST = 900.0  # seconds of a run on a busy machine
SENTENCE, BAD_INPUT = "a sentence", 2  # what is noted where a driver ends by itself, and its exit status then
NODE = {"num_cpus": 1}


def driver(folder: Path, address: str) -> subprocess.Popen:
    """The command of the run on a cluster; what it prints goes to `output.txt`."""
    command = [sys.executable, "-m", "benchmarks", *tiny.words(folder), *tiny.EACH_STAGE, "--on", "ray"]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": address}, stdout=output, stderr=output)


def workers(living: list) -> list[int]:
    """Ids of the processes of some nodes that do jobs, or wait for one."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in living}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (path / "cmdline").read_bytes().startswith(b"ray::"):
                found.append(int(path.name))
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
    return found


def count_kills(done: list[str]) -> int:
    return sum(kind != SENTENCE for kind in done)


def round_of(folder: Path, seconds: float, rng: random.Random) -> list[str]:
    """What was killed, in order, until a run in the folder had finished; `SENTENCE` where it ended by itself before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = []
    with nodes.started([NODE, NODE]) as (cluster, living):

        def add():
            living.append(cluster.add_node(object_store_memory=nodes.STORE, **NODE))

        process, latest = driver(folder, cluster.address), time.monotonic() + LONGEST
        while process.poll() != 0 and time.monotonic() < latest:
            time.sleep(rng.uniform(0, seconds / 3))
            if process.poll() == BAD_INPUT:
                add()
                process = driver(folder, cluster.address)
                done.append(SENTENCE)
            if count_kills(done) >= ROUND or process.poll() is not None:
                continue
            kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
            if kind == "worker" and (pids := workers(living)):
                os.kill(rng.choice(pids), signal.SIGKILL)
            elif kind == "node":
                cluster.remove_node(living.pop(rng.randrange(len(living))), allow_graceful=False)
                add()
            elif kind == "driver":
                process.kill()
                process.wait()
                process = driver(folder, cluster.address)
            else:
                continue
            done.append(kind)
        assert process.wait(timeout=10) == 0, f"exit status {process.returncode}, see {folder / 'output.txt'}"
    assert "Traceback" not in (folder / "output.txt").read_text(), folder / "output.txt"
    return done


def main(root: Path, kills: int, seed: int):
    root.mkdir(parents=True, exist_ok=True)
    path = root / "state.json"
    if not path.exists():
        (root / "whole").mkdir(exist_ok=True)
        began = time.monotonic()
        tiny.run(root / "whole", *tiny.EACH_STAGE)
        expected = outcome(root / "whole" / "runs" / "tiny")
        store.write_json(path, {"expected": expected, "seconds": time.monotonic() - began, "kills": [], "rounds": []})
    state = store.read_json(path)
    while count_kills(state["kills"]) < kills:
        number = len(state["rounds"])
        done = round_of(root / f"round-{number}", state["seconds"], random.Random(f"{seed} {number}"))
        problems = differences(state["expected"], outcome(root / f"round-{number}" / "runs" / "tiny"))
        state["kills"] += done
        state["rounds"].append(problems)
        store.write_json(path, state)
        print(
            f"{count_kills(state['kills'])} of {kills} kills: {', '.join(done)} →", problems or "the same", flush=True
        )
        if not problems:
            shutil.rmtree(root / f"round-{number}")
    different = sum(map(bool, state["rounds"]))
    print(f"{dict(Counter(state['kills']))} in {len(state['rounds'])} rounds, of which {different} ended differently")
    sys.exit(different > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=2406)
    given = parser.parse_args()
    main(given.folder, given.kills, given.seed)
