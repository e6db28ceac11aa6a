"""In which order the jobs of a run are done on several machines, and how long that takes.

Of the jobs that can begin, the one comes first that the longest chain of others waits for.
"""

import heapq
from collections.abc import Callable, Sequence

from benchmarks.planning.graph import Job


class Ready:
    """The jobs of a graph that can begin. What is done is forgotten, so that memory does not grow while a run goes on.

    Args:
        jobs: each after those that it needs, as from `graph.make`. seconds: how long a job takes, in any unit.

    Attributes:
        left: how many jobs are not done.
    """

    def __init__(self, jobs: Sequence[Job], seconds: Callable[[Job], float]):
        self.left, self._dependents, self._waits = len(jobs), {}, {}
        self._ranks, self._heap = chains(jobs, seconds), []
        self._before = 0  # numbers below those of all jobs, for what is put back
        for order, job in enumerate(jobs):
            for name in job.needs:
                self._dependents.setdefault(name, []).append((order, job))
            self._waits[job.name] = len(job.needs)
            if not job.needs:
                self._push(order, job)

    def _push(self, order: int, job: Job):
        heapq.heappush(self._heap, (-self._ranks[job.name], order, job))

    def __len__(self) -> int:
        return len(self._heap)

    def take(self) -> Job:
        """The job to begin next."""
        return heapq.heappop(self._heap)[2]

    def put_back(self, job: Job):
        """Begins a job again, before others whose chain is as long."""
        self._before -= 1
        self._push(self._before, job)

    def done(self, job: Job):
        """Lets jobs begin that waited for this one alone."""
        self.left -= 1
        del self._ranks[job.name], self._waits[job.name]
        for order, dependent in self._dependents.pop(job.name, ()):
            self._waits[dependent.name] -= 1
            if not self._waits[dependent.name]:
                self._push(order, dependent)


def chains(jobs: Sequence[Job], seconds: Callable[[Job], float]) -> dict[str, float]:
    """Name of a job → how long it and the longest chain of jobs behind it take."""
    behind: dict[str, float] = {}
    for job in reversed(jobs):
        length = behind[job.name] = behind.get(job.name, 0.0) + seconds(job)
        for name in job.needs:
            behind[name] = max(behind.get(name, 0.0), length)
    return behind


def longest_chain(jobs: Sequence[Job], seconds: Callable[[Job], float]) -> list[Job]:
    """The jobs, one after the other, that no number of machines does any faster."""
    behind, chain = chains(jobs, seconds), []
    candidates = [job for job in jobs if not job.needs]
    dependents: dict[str, list[Job]] = {}
    for job in jobs:
        for name in job.needs:
            dependents.setdefault(name, []).append(job)
    while candidates:
        chain.append(max(candidates, key=lambda job: behind[job.name]))
        candidates = dependents.get(chain[-1].name, [])
    return chain


def makespan(jobs: Sequence[Job], seconds: Callable[[Job], float], devices: int) -> float:
    """How long all jobs take on so many equal devices, each doing one at a time."""
    ready, running, now = Ready(jobs, seconds), [], 0.0
    while ready.left:
        while len(ready) and len(running) < devices:
            job = ready.take()
            heapq.heappush(running, (now + seconds(job), job.name, job))
        now, _, job = heapq.heappop(running)
        ready.done(job)
    return now
