"""Policies on a stream of requests: knobs are fitted on one stream and its examples, and judged on another."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.serving.staging import Setup
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.serving import Dial, Fitted, Policy, Served, breaking_rate, fit, policies, quality_difference, simulate
from cat_keras.serving.fitting import TAIL
from cat_keras.serving.streams import scaled

REFERENCE = "cascade"  # the fixed policy that others are compared with
MULTIPLES = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # of the rate at which the reference breaks
TWICE = 2.0
BUDGET = 5.0  # by default as many times what the last model takes for one request alone
Progress = Callable[[int, str], None]
ANSWERED = 0.99  # who answers fewer of the requests keeps a budget by leaving them out


@dataclass(frozen=True)
class Point:
    """One policy at one rate, on the stream and the examples that policies are judged on.

    Attributes:
        policy, knobs: it. times: the rate as a multiple of the one that the reference breaks at. rate: requests a
            second. quality: mean of the answers given. p50, p99: of their latency, seconds.
        in_time, answered: shares of all requests. large: share of all requests that the last model answered.
        holds: whether the budget is kept and (almost) everyone is answered.
        minus: quality minus that of the reference at the rate at which that breaks, who was shed counting as 0.
    """

    policy: str
    knobs: str
    times: float
    rate: float
    quality: float
    p50: float
    p99: float
    in_time: float
    answered: float
    large: float
    holds: bool
    minus: Interval


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of it.

    Attributes:
        budget: seconds. base: rate that fixed knobs were set for. breaks: rate up to which the reference keeps the
            budget on the stream that is judged. fitted: by name. points: by policy and multiple.
        left_out: policies that cannot keep the promise.
    """

    budget: float
    base: float
    breaks: float
    fitted: dict[str, Fitted]
    points: dict[tuple[str, float], Point]
    left_out: tuple[str, ...]
    guarantee: Guarantee | None

    @property
    def reference(self) -> Point:
        """The fixed cascade at the rate at which it breaks."""
        return self.points[REFERENCE, 1.0]

    def at(self, times: float) -> list[Point]:
        """Every policy at one multiple."""
        return [point for (_, multiple), point in self.points.items() if multiple == times]


def default_budget(setup: Setup) -> float:
    """Seconds."""
    return BUDGET * setup.service.servers[-1].latency.mean(1)


def knobs(
    setup: Setup,
    stream: np.ndarray,
    budget: float,
    base: float = 0.0,
    names: Sequence[str] = (),
    guarantee: Guarantee | None = None,
    seed: int = 0,
    progress: Progress = lambda n, text: None,
) -> tuple[dict[str, Fitted], tuple[str, ...], float]:
    """Policies with knobs fitted on a stream, names of those that cannot keep the promise, and the base rate.

    Fixed policies are set for the base rate. Those that adapt are set for the rate at which the fixed cascade breaks on
    this stream, and for twice that.

    Args:
        setup: the service. stream: arrivals. budget: seconds. base: requests a second; by default the largest rate at
            which the last model alone keeps the budget, or the first where the last never does.
        names: of policies; by default all. guarantee: a promise that every policy keeps. seed: of durations.
        progress: called with 1 and the name of a policy that is fitted or, by `run`, judged.

    Raises:
        CatKerasError: no policy keeps the budget at the base rate; the message has the nearest that one does.
    """
    dial = Dial(setup.service, setup.fitting, guarantee)
    base = base or _base(dial, stream, budget, seed)
    reference = fit(policies.get(REFERENCE), dial, stream, base, budget, seed)
    if reference is None:
        raise CatKerasError(
            f"A quality that is promised is one that a cascade keeps. Received: a loss of at most {guarantee.alpha:g} "
            f"with {len(setup.fitting):,} examples to certify it. Allow a larger loss, or give more examples"
        )
    breaks = _breaks(dial, reference.policy, stream, budget, setup.fitting, seed) if reference.holds else base
    chosen = {REFERENCE: reference}
    for name in dict.fromkeys(names or policies.names()):
        family = policies.get(name)
        progress(1, f"fitting {name}")
        if name != REFERENCE:
            chosen[name] = fit(family, dial, stream, breaks if len(family.loads) > 1 else base, budget, seed)
    left_out = tuple(name for name, each in chosen.items() if each is None)
    order = sorted(chosen, key=policies.names().index)  # the same in every table and figure
    fitted = {name: chosen[name] for name in order if chosen[name] is not None}
    if not any(each.holds for each in fitted.values()):
        nearest = min(fitted.values(), key=lambda each: each.tail)
        raise CatKerasError(
            f"A latency budget is one that some policy keeps. Received: {1000 * budget:.4g} ms at {base:.4g} requests "
            f"a second. The nearest is {1000 * nearest.tail:.4g} ms, by {nearest.family.name}: allow that and a tenth "
            "more, or a lower --rate"
        )
    return fitted, left_out, base


def run(setup: Setup, fit_on: np.ndarray, stream: np.ndarray, budget: float, base: float = 0.0,
        names: Sequence[str] = (), guarantee: Guarantee | None = None, seed: int = 0,
        progress: Progress = lambda n, text: None) -> Trial:  # fmt: skip
    """Fits policies on one stream and judges them on another, at several rates; arguments as in `knobs`."""
    fitted, left_out, base = knobs(setup, fit_on, budget, base, names, guarantee, seed, progress)
    dial = Dial(setup.service, setup.fitting, guarantee)
    breaks = _breaks(dial, fitted[REFERENCE].policy, stream, budget, setup.judging, seed)

    def served(name, times):
        policy = fitted[name].policy
        return simulate(setup.service, scaled(stream, breaks * times), policy, setup.judging, seed)

    reference, points, last = served(REFERENCE, 1.0), {}, len(setup.service.servers) - 1
    for name in fitted:
        progress(1, f"judging {name}")
        for times in MULTIPLES:
            result = reference if (name, times) == (REFERENCE, 1.0) else served(name, times)
            points[name, times] = _point(fitted[name], times, breaks * times, result, reference, budget, last)
    return Trial(budget, base, breaks, fitted, points, left_out, guarantee)


def _base(dial: Dial, stream, budget: float, seed: int) -> float:
    large, small = dial.best, dial.alone(0)
    try:
        return _breaks(dial, policies.Fixed(large), stream, budget, dial.rows, seed)
    except CatKerasError:
        if small is None:
            raise
        return _breaks(dial, policies.Fixed(small), stream, budget, dial.rows, seed)


def _breaks(dial: Dial, policy: Policy, stream, budget: float, rows: np.ndarray, seed: int) -> float:
    rate = breaking_rate(dial, policy, stream, budget, rows, seed)
    if math.isinf(rate):
        raise CatKerasError(
            f"A stream is long enough for a queue to break the budget. Received: {len(stream):,} requests, which are "
            f"all answered within {1000 * budget:.4g} ms even when they come at once. Take more requests, or a smaller "
            "budget"
        )
    return rate


def _point(fitted: Fitted, times: float, rate: float, served: Served, reference: Served, budget: float,
           last: int) -> Point:  # fmt: skip
    answered, tail = served.answered, served.percentile(TAIL)
    return Point(
        fitted.family.name, fitted.policy.knobs, times, rate, float(served.quality[answered].mean()),
        served.percentile(0.5), tail, served.in_time(budget), float(answered.mean()),
        float((served.server == last).mean()), tail <= budget and answered.mean() >= ANSWERED,
        quality_difference(served, reference),
    )  # fmt: skip


def sentences(trial: Trial) -> Iterator[str]:
    """What to take home."""
    reference, budget = trial.reference, 1000 * trial.budget
    yield (
        f"The fixed cascade ({reference.knobs}) keeps 99 % of its answers within {budget:.0f} ms up to "
        f"{trial.breaks:.3g} requests a second, with quality {100 * reference.quality:.1f}."
    )
    twice = trial.at(TWICE)
    holding = [point for point in twice if point.holds]
    if not holding:
        nearest = min((p for p in twice if p.answered >= ANSWERED), key=lambda p: p.p99, default=None)
        yield (
            f"At twice that rate no policy keeps the budget and answers {ANSWERED:.0%} of the requests"
            + (f"; the nearest is {nearest.policy} with {1000 * nearest.p99:.0f} ms." if nearest else ".")
        )
        return
    best = max(holding, key=lambda point: point.quality)
    minus = ", ".join(f"{100 * value:+.1f}" for value in best.minus[1:])
    yield (
        f"At twice that rate {best.policy} ({best.knobs or 'no knobs'}) keeps the budget with the best quality: "
        f"{100 * best.quality:.1f}, which is {100 * best.minus.estimate:+.1f} [{minus}] points against the cascade "
        "at the lower rate."
    )
    others = [f"{p.policy} ({100 * p.quality:.1f})" for p in holding if p is not best]
    broken = [f"{p.policy} ({1000 * p.p99:.0f} ms)" for p in twice if p.answered >= ANSWERED and not p.holds]
    if others or broken:
        yield (
            "; ".join(
                part
                for part in (
                    f"Also kept by {', '.join(others)}" if others else "",
                    f"not by {', '.join(broken)}" if broken else "",
                )
                if part
            )
            + "."
        )
