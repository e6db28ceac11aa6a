"""The simulation against formulas of queueing theory and small cases by hand; and that no request is lost."""

import math

import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.serving import Action, Latency, Policy, simulate, simulation, streams
from cat_keras.serving.policies import ByQueue, Fixed
from tests.serving.services import linear, pair

FIRST, LAST = Action(0, -math.inf, 0.0, 0.5), Action(1, -math.inf, 0.0, 0.9)


def half(score: float = 0.5) -> Action:
    return Action(0, score, 0.5, 0.9)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_request_at_a_time_waits_as_long_as_in_m_d_1(load):
    """Pollaczek–Khinchine: mean wait = ρ s / (2 (1 − ρ)) for Poisson arrivals and a constant duration s."""
    service = pair(batch=1, small=Latency.of({1: [1.0]}))
    served = simulate(service, streams.poisson(load, 40_000, seed=1), Fixed(FIRST))
    assert (served.latency - 1).mean() == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert served.batches == 40_000


def test_random_durations_wait_as_long_as_in_m_m_1():
    """Mean wait = ρ s / (1 − ρ), and the time in the system is exponential with mean s / (1 − ρ)."""
    places = (np.arange(200) + 0.5) / 200  # of quantiles, which are all that is kept of measurements
    service = pair(batch=1, small=Latency.of({1: -np.log1p(-places)}))
    served = simulate(service, streams.poisson(0.5, 40_000, seed=2), Fixed(FIRST))
    assert served.latency.mean() == pytest.approx(2, rel=0.05)
    assert served.percentile(0.5) == pytest.approx(2 * math.log(2), rel=0.05)
    assert served.percentile(0.99) == pytest.approx(2 * math.log(100), rel=0.1)


def test_two_machines_wait_as_long_as_in_m_m_2():
    """Mean time in the system s / (1 − ρ²) with ρ the load of each of two machines."""
    places = (np.arange(200) + 0.5) / 200
    service = pair(batch=1, machines=2, small=Latency.of({1: -np.log1p(-places)}))
    served = simulate(service, streams.poisson(1.0, 40_000, seed=3), Fixed(FIRST))
    assert served.latency.mean() == pytest.approx(1 / (1 - 0.25), rel=0.05)


def test_requests_by_hand():
    """Batches of two, 1 s + 1 s a request: the third waits for the first two, the fourth goes with it."""
    service = pair(batch=2, small=linear(1, 1, 2), large=linear(5, 0.5, 2))
    served = simulate(service, np.array([0.0, 0.1, 0.2, 0.3]), Fixed(FIRST))
    # The first goes alone and takes 2 s; the next two together take 3 s, until 5; the last alone, until 7.
    assert served.finish.tolist() == [2, 5, 5, 7]
    assert served.latency.tolist() == pytest.approx([2, 4.9, 4.8, 6.7])
    assert served.in_time(4.85) == 0.5 and served.batches == 3


def test_what_is_deferred_is_answered_next():
    """Examples 0 and 1 are unsure and sure, and the deferred one came before all that wait."""
    service = pair(batch=2, small=linear(1, 1, 2), large=linear(5, 0.5, 2))
    unsure, sure = np.argsort(service.servers[0].score)[[0, -1]]
    served = simulate(service, np.array([0.0, 0.1]), Fixed(half()), np.array([unsure, sure]))
    assert served.asked.tolist() == [0, 0] and served.server.tolist() == [1, 0]
    assert served.finish.tolist() == [2 + 5.5, 7.5 + 2]
    expected = [service.servers[1].quality[unsure], service.servers[0].quality[sure]]
    assert served.quality.tolist() == expected


class Wayward(Policy):
    """Does anything."""

    def __init__(self, limit=None):
        self.limit, self.rng = limit, np.random.default_rng(0)

    def __call__(self, waiting, age):
        assert waiting >= 1 and age >= 0
        return (FIRST, LAST, half(), half(0.9))[self.rng.integers(4)]


@pytest.mark.parametrize("machines", [1, 3])
@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("stream", streams.STREAMS)
def test_each_request_ends_once(stream, limit, machines):
    service = pair(batch=4, machines=machines)
    arrivals = streams.STREAMS[stream](80.0 * machines, 1500, seed=4)
    served = simulate(service, arrivals, Wayward(limit))
    answered = served.answered
    assert (served.finish[answered] > served.arrival[answered]).all()
    assert np.isnan(served.finish[~answered]).all() and (served.quality[~answered] == 0).all()
    assert answered.all() == (limit is None)
    # Who was shed was asked nobody, and an answer is of the first server or, deferred, of the last.
    assert (served.asked[~answered] == -1).all() and set(served.asked[answered]) <= {0, 1}
    kept = served.server == served.asked
    assert (served.server[~kept] == 1).all()
    scores = service.servers[0].score[served.example]
    assert (scores[answered & ~kept] < 0.9).all()


def test_the_queue_holds_no_more_than_its_limit():
    """One is in service, two wait, and the others find no place."""
    served = simulate(pair(batch=1), np.array([0, 0.001, 0.002, 0.003, 0.004]), Fixed(FIRST, limit=2))
    assert served.answered.tolist() == [True, True, True, False, False]
    assert served.in_time(10) == 0.6


def test_the_same_seed_gives_the_same_result():
    service = pair(small=Latency.of({1: [0.01, 0.02, 0.05], 32: [0.1, 0.2, 0.3]}))
    arrivals = streams.bursts(100.0, 500)
    first, again, other = (simulate(service, arrivals, Fixed(half()), seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.finish, again.finish) and not np.array_equal(first.finish, other.finish)


def test_more_requests_wait_longer_and_a_threshold_by_queue_shortens_it():
    service = pair()
    arrivals = streams.poisson(1.0, 2000)
    path = (FIRST, half(0.25), half())
    fixed = [simulate(service, streams.scaled(arrivals, r), Fixed(half())).percentile(0.99) for r in (20, 80, 120)]
    assert fixed == sorted(fixed)
    follows = simulate(service, streams.scaled(arrivals, 120.0), ByQueue(path, 8))
    assert follows.percentile(0.99) < fixed[-1]


def test_real_time_is_the_same_code(monkeypatch):
    """A stand-in for a model sleeps as long as the simulation says; both then agree on who is answered and when."""
    import time

    service = pair(batch=4, small=linear(0.004, 0.001, 4), large=linear(0.01, 0.002, 4))
    arrivals, asked = streams.poisson(60.0, 30, seed=5), []

    def answer(server, rows):
        asked.extend(rows)
        time.sleep(service.servers[server].latency.mean(len(rows)))

    real = simulation.run_real(service, arrivals, Fixed(half()), answer)
    simulated = simulate(service, arrivals, Fixed(half()))
    assert np.array_equal(real.server, simulated.server)
    assert len(asked) == 30 + (real.server == 1).sum()
    # Sleeping never ends early, and on a busy machine it may end late.
    assert (real.latency >= 0.004).all() and real.latency.mean() >= 0.8 * simulated.latency.mean()
    with pytest.raises(CatKerasError, match="Received: machines=2"):
        simulation.run_real(pair(machines=2), arrivals, Fixed(half()), answer)


@pytest.mark.parametrize(
    "arrivals, examples, message",
    [
        ([0.0, 2.0, 1.0], None, "that goes back"),
        ([], None, "one request or more"),
        ([0.0, float("nan")], None, "Each of arrivals"),
        ([0.0], [200], "Each of examples"),
        ([0.0], [], "Received: none"),
    ],
)
def test_bad_requests(arrivals, examples, message):
    with pytest.raises(CatKerasError, match=message):
        simulate(pair(), np.array(arrivals), Fixed(FIRST), examples)


def test_a_queue_has_a_place():
    with pytest.raises(CatKerasError, match="limit of a policy is a whole number"):
        simulate(pair(), np.array([0.0]), Fixed(FIRST, limit=0))


@pytest.mark.long
def test_a_million_requests_take_a_minute_and_a_gibibyte(tmp_path):
    import subprocess
    import sys

    code = """
import time
from cat_keras import serving
from cat_keras.storage import processes
from tests.serving.services import pair
import numpy as np
service = pair()
dial = serving.Dial(service, np.arange(200))
policy = serving.policies.Elastic(dial, dial.all, 0.2)
started = time.process_time()
served = serving.simulate(service, serving.streams.bursts(60.0, 1_000_000), policy)
assert served.answered.all()
print(time.process_time() - started, processes.peak_memory() / 2**30, served.batches)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, gibibytes, _ = map(float, done.stdout.split())
    assert seconds < 60 and gibibytes < 1
