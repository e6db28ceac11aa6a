"""Run by test_scale.py: the plan of many jobs is made, and given to a cluster on this machine whose workers do nothing.

    python -m tests.cluster.nothing 9090     # seeds of the tiny profile; 100,000 jobs

Prints one JSON object: how many jobs and tasks there were, seconds of each step, and MiB of memory after each task.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.planning import graph, plan, profile, schedule
from benchmarks.running.cluster import dispatch, joining, worker
from benchmarks.running.cluster.reports import Reports
from benchmarks.running.journal import Journal
from benchmarks.running.progress import Progress


def memory() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def do_nothing(held, reports, jobs) -> worker.Outcome:
    return worker.Outcome()


def main(seeds: int):
    began, busy, held = time.monotonic(), time.process_time(), []
    todo = plan.make(profile.read("tiny", {"seeds": list(range(seeds)), "data.train": 20, "data.test": 4}))
    jobs = graph.make(todo, graph.ordered(todo, todo.models()), lambda *_: False)
    found = {"jobs": len(jobs), "planned": time.monotonic() - began}
    console = Console(quiet=True)
    journal = Journal(Path(tempfile.mkdtemp()), (), console)
    progress = Progress(console, journal)
    with joining.joined("ray") as cluster, progress:
        reports = cluster.ray.remote(Reports).options(num_cpus=0).remote()
        task = cluster.ray.remote(do_nothing).options(num_cpus=1, max_retries=0)
        cluster.ray.get(task.remote([], reports, []))  # Ray is up
        ready, began = schedule.Ready(jobs, lambda job: 1.0), time.monotonic()
        del jobs
        dispatcher = dispatch.Dispatcher(
            cluster, reports, journal, progress, lambda bundle: task.remote([], reports, bundle),
            lambda outcome: held.append(memory()),
        )  # fmt: skip
        dispatcher.run(ready)
        found |= {"scheduled": time.monotonic() - began, "left": ready.left}
    found |= {"busy": time.process_time() - busy, "tasks": len(held), "memory": held[:: len(held) // 8]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
