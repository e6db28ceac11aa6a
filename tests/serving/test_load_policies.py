"""What policies do at which load, by hand; knobs that keep a budget; and what a promise leaves of a dial."""

import math
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from cat_keras.cascades.guarantee import Guarantee
from cat_keras.errors import CatKerasError
from cat_keras.serving import (
    Action,
    Dial,
    Family,
    Latency,
    Server,
    Service,
    breaking_rate,
    fit,
    policies,
    quality_difference,
    simulate,
    streams,
)
from cat_keras.serving.policies import ByQueue, Elastic, Fixed
from tests.serving.services import N, linear, pair


@pytest.fixture(scope="module")
def dial():
    return Dial(pair(), np.arange(N))


def test_latencies_between_measured_sizes():
    latency = Latency.of({1: [1.0, 3.0], 3: [3.0, 5.0]})
    assert latency.table[1].tolist() == pytest.approx([2, 4])  # of equal rank in either
    assert latency.means().tolist() == pytest.approx([0, 2, 3, 4]) and latency.most == 3
    for measured, message in (
        ({2: [1.0]}, "batch of 1 and for larger ones. Received: batches of 2"),
        ({1: []}, "none of 1"),
        ({1: [0.0]}, "Seconds of a batch of 1"),
        ({1: [1.0], 0: [1.0]}, "A batch size"),
    ):
        with pytest.raises(CatKerasError, match=message):
            Latency.of(measured)


def test_actions_of_a_dial(dial):
    """The small model is right on the surer half; the large one on nine tenths."""
    path = dial.cascade()
    assert [round(a.deferral, 2) for a in path] == [i / 20 for i in range(21)]
    service = dial.service
    small, large = service.servers
    assert dial.alone(0).quality == small.quality.mean() and dial.best.quality == pytest.approx(0.9)
    middle = next(a for a in path if a.deferral == 0.5)
    deferred = small.score < middle.threshold
    assert middle.quality == pytest.approx(np.where(deferred, large.quality, small.quality).mean())
    # Seconds of a batch of ten: the small model, and the large one for five.
    assert dial.seconds([middle])[0, 10] == pytest.approx(0.01 + 0.01 + 0.03 + 0.05)
    assert dial.seconds([dial.alone(0)])[0, 10] == pytest.approx(0.02)
    assert dial.capacity(dial.best) == pytest.approx(32 / 0.35)


def test_a_promise_leaves_fewer_actions():
    """Losses are certified on the dial's examples, so few examples certify little, and many more."""
    losses = []
    for n in (60, 600):
        service = pair(n=n)
        few = Dial(service, np.arange(n), Guarantee(0.1, 0.1))
        path = few.cascade()
        assert few.alone(0) is None and few.sizes == [few.best]  # the small model alone loses 40 points
        large = service.servers[1].quality.mean()
        assert all(large - action.quality <= 0.1 for action in path)
        losses.append(min(action.deferral for action in path))
        assert policies.get("small").candidates(few, 1.0) == []
        assert fit(policies.get("small"), few, streams.poisson(1.0, 50), 1.0, 1.0) is None
    assert losses[1] < losses[0]
    with pytest.raises(CatKerasError, match="Received: a guarantee of risk"):
        Dial(pair(), np.arange(N), Guarantee(0.1, 0.1, of="risk"))


def test_the_promise_is_kept_jointly_over_draws():
    """Of many draws of calibration examples, at most delta certify an action that loses more than alpha in truth."""
    rng, broken = np.random.default_rng(0), 0
    score = np.linspace(0, 1, 100_000)
    small = rng.random(100_000) < 0.3 + 0.7 * score
    large = rng.random(100_000) < 0.9
    service = Service(
        (Server("s", linear(1, 1), small.astype(float), score), Server("l", linear(2, 2), large.astype(float)))
    )
    truth = {a.threshold: a for a in Dial(service, np.arange(100_000)).cascade()}
    limits = np.array(sorted(truth))
    for _ in range(100):
        rows = rng.integers(100_000, size=300)
        for action in Dial(service, rows, Guarantee(0.05, 0.2)).cascade():
            # The truth at the nearest threshold that defers no less.
            place = min(int(np.searchsorted(limits, action.threshold)), len(limits) - 1)
            if large.mean() - truth[limits[place]].quality > 0.05:
                broken += 1
                break
    assert broken <= 30


def test_a_threshold_falls_with_the_queue():
    path = [Action(0, t, t, 0.5) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    policy = ByQueue(path, places=8)
    assert [policy(waiting, 0.0).threshold for waiting in (1, 3, 5, 7, 9, 50)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_the_elastic_schedule_by_hand(dial):
    """The large model takes 30 ms + 10 ms a request, the small one 10 ms + 1 ms."""
    policy = Elastic(dial, dial.sizes, target=0.1)
    assert policy(7, 0.0).server == 1  # 100 ms
    assert policy(8, 0.0).server == 0  # 110 ms would be late
    assert policy(3, 0.045).server == 0 and policy(3, 0.035).server == 1  # 60 ms beside what the first waited
    # Of 40 requests the last waits for two batches, and of 400 it is late whatever is done: then the quickest.
    assert policy(40, 0.0).server == 0 and policy(400, 5.0).server == 0
    several = Elastic(dial, dial.all, target=0.1)
    quality = [several(waiting, 0.0).quality for waiting in (1, 4, 8, 16, 32)]
    assert quality == sorted(quality, reverse=True) and quality[-1] > dial.alone(0).quality
    # Machines share the queue, so the last of it is answered sooner.
    twice = Dial(pair(machines=4), np.arange(N))
    assert (
        Elastic(twice, twice.sizes, 0.4)(100, 0.0).server == 1 and Elastic(dial, dial.sizes, 0.4)(100, 0.0).server == 0
    )


def test_actions_that_others_beat_are_no_choice(dial):
    kept = policies.efficient(dial, dial.all)
    seconds = dial.seconds(kept)[:, -1]
    assert (np.diff(seconds) < 0).all() and (np.diff([a.quality for a in kept]) <= 0).all()
    assert max(a.quality for a in dial.all) == kept[0].quality and kept[-1].server == 0


def test_more_sizes_are_more_servers():
    """Sizes of one model are several servers with answers of their own; the schedule takes the best in time."""
    score = np.arange(10) / 10
    sizes = [Server(f"size {k}", linear(0.01 * k, 0.002 * k), np.full(10, 0.2 * k), score) for k in (1, 2, 3, 4)]
    dial = Dial(Service(tuple(sizes)), np.arange(10))
    policy = Elastic(dial, dial.sizes, target=0.05)
    assert [policy(waiting, 0.0).server for waiting in (1, 2, 5, 10, 20)] == [3, 2, 1, 0, 0]
    both = Elastic(dial, dial.all, target=0.05)
    for waiting in (1, 2, 5, 10):
        assert both(waiting, 0.0).quality >= policy(waiting, 0.0).quality


def test_knobs_keep_the_budget_where_they_are_fitted(dial):
    arrivals, budget = streams.bursts(1.0, 1200), 0.25
    for name in ("cascade", "threshold", "elastic-cascade"):
        family = policies.get(name)
        fitted = fit(family, dial, arrivals, 30.0, budget)
        tails = [
            simulate(dial.service, streams.scaled(arrivals, 30.0 * load), fitted.policy, dial.rows).percentile(0.99)
            for load in family.loads
        ]
        assert fitted.tail == max(tails) and fitted.holds == (max(tails) <= 0.9 * budget)
    # A budget that nothing keeps: the knobs that come nearest.
    hopeless = fit(policies.get("cascade"), dial, arrivals, 30.0, 0.001)
    assert not hopeless.holds and hopeless.policy.action == dial.alone(0)


def test_the_rate_that_a_policy_breaks_at(dial):
    """One at a time and far apart, the large model takes 40 ms; at the rate found 99 % are just within the budget."""
    arrivals, policy = streams.poisson(1.0, 1500), Fixed(dial.best)
    rate = breaking_rate(dial, policy, arrivals, 0.2)
    within, above = (
        simulate(dial.service, streams.scaled(arrivals, rate * times), policy).percentile(0.99) for times in (1, 1.05)
    )
    assert within <= 0.2 < above
    with pytest.raises(CatKerasError, match=r"Received: 30 ms, and at .* Allow more than 4\d(\.\d+)? ms"):
        breaking_rate(dial, policy, arrivals, 0.03)
    assert breaking_rate(dial, Fixed(dial.best, limit=1), arrivals, 0.2) == math.inf


def test_the_difference_of_two_policies(dial):
    """Every tenth answer of the large model is wrong and half of the small one's are: 40 points, well within noise."""
    arrivals = streams.poisson(10.0, 1000)
    small, large = (simulate(dial.service, arrivals, Fixed(action)) for action in (dial.alone(0), dial.best))
    found = quality_difference(small, large)
    assert found.estimate == pytest.approx(small.quality.mean() - large.quality.mean())
    assert found.low < found.estimate < found.high < -0.2
    assert quality_difference(large, large) == (0, 0, 0)
    # 1000 requests with 200 examples know no more than 200 examples: more requests make it no narrower.
    longer = [simulate(dial.service, streams.poisson(10.0, 4000), Fixed(a)) for a in (dial.alone(0), dial.best)]
    wide = quality_difference(*longer)
    assert (wide.high - wide.low) > 0.7 * (found.high - found.low)
    with pytest.raises(CatKerasError, match="requests with other examples"):
        quality_difference(small, longer[0])


def test_families_are_plugins(monkeypatch):
    monkeypatch.setattr(policies, "FAMILIES", dict(policies.FAMILIES))
    mine = Family("mine", "always the first", lambda dial, budget: [Fixed(dial.sizes[0])])
    assert policies.register(mine) is policies.register(mine) and policies.get("mine") is mine
    with pytest.raises(CatKerasError, match="'mine' twice"):
        policies.register(Family("mine", "another", lambda dial, budget: []))
    with pytest.raises(CatKerasError, match="Received: none for idle"):
        policies.register(Family("idle", "never", lambda dial, budget: [], ()))
    with pytest.raises(CatKerasError, match="did you mean elastic"):
        policies.get("elastik")


def test_installed_packages_add_families(monkeypatch):
    """An entry point names a module, whose import registers; one that fails says which package to mend."""
    works, fails = (EntryPoint(name, name, policies.GROUP) for name in ("json", "nowhere_to_be_found"))
    monkeypatch.setattr(policies, "_entry_points", lambda: (works,))
    assert policies.names() == list(policies.FAMILIES)
    monkeypatch.setattr(policies, "_entry_points", lambda: (fails,))
    with pytest.raises(CatKerasError, match=r"Entry point nowhere_to_be_found .* uninstall its package"):
        policies.names()


def test_services_that_cannot_be():
    latency, quality = linear(1, 1), np.ones(3)
    one = Server("a", latency, quality)
    for make, message in (
        (lambda: Service((one,)), "two servers or more"),
        (lambda: Service((one, Server("b", latency, np.ones(4)))), r"servers of \[3, 4\] examples"),
        (lambda: Service((one, one), batch=64), "measured up to batches of 32"),
        (lambda: Service((one, one), machines=0), "machines"),
        (lambda: Server("b", latency, 2 * quality), "quality of b"),
        (lambda: Server("b", latency, quality, np.ones(2)), "a score and a quality"),
    ):
        with pytest.raises(CatKerasError, match=message):
            make()
