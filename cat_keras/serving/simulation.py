"""Requests that wait for machines, one after the other in simulated time: a discrete-event simulation on SimPy.

There is one process per machine and none per request: arrivals are an array, of which a machine takes what has come
since it looked last, so that a simulation costs by its batches more than by its requests. A machine takes the requests
that came first, at most a batch of them: those that were deferred, by the last server, or waiting ones, as the policy
says. The same code runs against real models in real time, where a batch takes as long as it takes.
"""

import math
import random
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import simpy
import simpy.rt

from cat_keras.errors import COUNT, SEED, CatKerasError, check_number, check_numbers
from cat_keras.serving.policies import Policy
from cat_keras.serving.service import Service

SHED = -1


@dataclass(frozen=True, eq=False)
class Served:
    """What became of each request of a stream, (requests,) each.

    Attributes:
        arrival, finish: seconds from the start; finish is NaN for who was shed.
        asked, server: places of the first server that was asked and of the one that answered; −1 for who was shed.
        example: place of the example that the request was served with. quality: of its answer; 0 for who was shed.
        batches: batches that were run, in all.
    """

    arrival: np.ndarray
    finish: np.ndarray
    asked: np.ndarray
    server: np.ndarray
    example: np.ndarray
    quality: np.ndarray
    batches: int

    @property
    def answered(self) -> np.ndarray:
        """Which requests got an answer."""
        return self.server != SHED

    @property
    def latency(self) -> np.ndarray:
        """(answered,) seconds from arrival to answer."""
        return (self.finish - self.arrival)[self.answered]

    def percentile(self, share: float) -> float:
        """Latency, seconds, that a share of the answered requests stays within."""
        return float(np.quantile(self.latency, check_number("share", share, "[0, 1]")))

    def in_time(self, budget: float) -> float:
        """Share of all requests that were answered within so many seconds."""
        check_number("budget", budget, "(0, inf)")
        return float((self.latency <= budget).sum() / len(self.arrival))


def simulate(service: Service, arrivals: np.ndarray, policy: Policy, examples: np.ndarray | None = None,
             seed: int = 0) -> Served:  # fmt: skip
    """Replays a stream of requests. The same arguments give the same result.

    Args:
        service: what answers. arrivals: (requests,) seconds, in order, see `streams`. policy: what it does.
        examples: places of the examples that requests are served with, in turn; by default all of the service.
        seed: of the durations, which are drawn from the measured ones.

    Raises:
        CatKerasError: arrivals that are not in order, or examples that the service has not.
    """
    rng = random.Random(check_number("seed", seed, SEED, whole=True))
    tables = [server.latency.table.tolist() for server in service.servers]
    ranks = [server.latency.table.shape[1] for server in service.servers]

    def drawn(server, rows):
        return tables[server][len(rows) - 1][int(rng.random() * ranks[server])]

    return _Queue(service, arrivals, policy, examples, drawn).run(simpy.Environment())


def run_real(service: Service, arrivals: np.ndarray, policy: Policy, answer: Callable[[int, list[int]], object],
             examples: np.ndarray | None = None) -> Served:  # fmt: skip
    """The same against real models in real time, as long as the stream lasts.

    Args:
        service: of one machine, this one; its latencies are what the policy expects. answer: (server, examples) → the
            models answer them, at once.
        arrivals, policy, examples: as in `simulate`.

    Raises:
        CatKerasError: as `simulate`, or more than one machine.
    """
    if service.machines != 1:
        raise CatKerasError(f"This process is one machine. Received: machines={service.machines}")
    environment = simpy.rt.RealtimeEnvironment(strict=False)
    started = time.perf_counter()
    environment.sync()  # or its clock would begin when it was made

    def timed(server, rows):
        answer(server, rows)
        # What the service itself took besides counts as well: after every batch both clocks say the same.
        return max(0.0, time.perf_counter() - started - environment.now)

    return _Queue(service, arrivals, policy, examples, timed).run(environment)


class _Queue:
    """The state of a simulation. `duration`: (server, examples) → seconds of a batch of them.

    It is in lists and not in arrays, since most batches are too small for NumPy to be quicker.
    """

    def __init__(self, service, arrivals, policy, examples, duration: Callable[[int, list[int]], float]):
        arrivals = check_numbers("arrivals", arrivals, "[0, 1e15]")
        if arrivals.ndim != 1 or not len(arrivals) or (np.diff(arrivals) < 0).any():
            raise CatKerasError(
                f"Arrivals are one request or more, in order of time. Received: an array of shape {arrivals.shape}"
                f"{' that goes back' if arrivals.ndim == 1 and len(arrivals) else ''}. See streams.check"
            )
        examples = np.arange(service.examples) if examples is None else np.asarray(examples)
        check_numbers("examples", examples, f"[0, {service.examples - 1}]", whole=True)
        if not len(examples):
            raise CatKerasError("Requests are served with examples. Received: none")
        if policy.limit is not None:
            check_number("limit of a policy", policy.limit, COUNT, whole=True)
        n = len(arrivals)
        self.service, self.policy, self.duration = service, policy, duration
        self.times, self.example = arrivals.tolist(), np.resize(examples, n).tolist()
        self.scores = [None if server.score is None else server.score.tolist() for server in service.servers]
        self.last = len(service.servers) - 1
        self.seen = 0  # requests that have arrived
        # Requests that were let in, in order; of them those before `head` have left the queue.
        self.queue, self.head = range(n) if policy.limit is None else [], 0
        self.deferred: deque[int] = deque()
        self.finish, self.asked, self.server = [math.nan] * n, [SHED] * n, [SHED] * n
        self.batches = 0

    def run(self, environment) -> Served:
        for _ in range(self.service.machines):
            environment.process(self._machine(environment))
        environment.run()
        asked, server = (np.array(column, np.int16) for column in (self.asked, self.server))
        example = np.array(self.example)
        quality = np.zeros(len(self.times))
        for place, each in enumerate(self.service.servers):
            quality[server == place] = each.quality[example[server == place]]
        return Served(np.array(self.times), np.array(self.finish), asked, server, example, quality, self.batches)

    @property
    def waiting(self) -> int:
        return (self.seen if self.policy.limit is None else len(self.queue)) - self.head

    def _machine(self, environment):
        while True:
            self._arrive(environment.now)
            if not self.deferred and not self.waiting:
                if self.seen == len(self.times):
                    # What busy machines still defer is at most a batch, which they serve themselves.
                    return
                yield environment.timeout(self.times[self.seen] - environment.now)
                continue
            rows, server, threshold = self._next(environment.now)
            self.batches += 1
            yield environment.timeout(self.duration(server, [self.example[row] for row in rows]))
            if server != self.last and threshold != -math.inf:
                scores = self.scores[server]
                kept = [row for row in rows if scores[self.example[row]] >= threshold]
                if len(kept) < len(rows):
                    self.deferred.extend(row for row in rows if scores[self.example[row]] < threshold)
                rows = kept
            now = environment.now
            for row in rows:
                self.finish[row], self.server[row] = now, server

    def _arrive(self, now: float):
        """Lets in who has come by now. Between two looks nobody left, so the first to come took the free places."""
        if self.seen == len(self.times) or self.times[self.seen] > now:
            return
        end = bisect_right(self.times, now, self.seen)
        if self.policy.limit is not None:
            free = self.policy.limit - self.waiting
            self.queue.extend(range(self.seen, min(end, self.seen + free)))
        self.seen = end

    def _next(self, now: float) -> tuple[Sequence[int], int, float]:
        """Requests of the next batch, the server that answers them and the threshold."""
        waiting, batch = self.waiting, self.service.batch
        if self.deferred and (not waiting or self.deferred[0] < self.queue[self.head]):
            rows = [self.deferred.popleft() for _ in range(min(batch, len(self.deferred)))]
            return rows, self.last, -math.inf
        action = self.policy(waiting, now - self.times[self.queue[self.head]])
        rows = self.queue[self.head : self.head + min(batch, waiting)]
        self.head += len(rows)
        for row in rows:
            self.asked[row] = action.server
        return rows, action.server, action.threshold
