"""What a service does at which load: policies, and families of them that differ in their knobs.

A policy is asked whenever a machine is about to take waiting requests. It knows how many wait, and for how long the
first has waited. A family is registered by name; other packages add theirs by an entry point of the group
`cat_keras.serving_policies` that names a module which calls `register`.
"""

import functools
import importlib.metadata
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cat_keras.errors import CatKerasError, check_number, unknown_name
from cat_keras.serving.dial import Action, Dial

GROUP = "cat_keras.serving_policies"
HEADROOM = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)  # shares of the budget that a prediction may fill
PLACES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # lengths of the queue


class Policy:
    """One setting of a family's knobs.

    Attributes:
        limit: places in the queue; who finds none free gets no answer. None for any number.
        knobs: what tells it from others of its family, as it is printed.
    """

    limit: int | None = None
    knobs: str = ""

    def __call__(self, waiting: int, age: float) -> Action:
        """What to do with the next batch.

        Args:
            waiting: requests in the queue, at least 1. age: seconds that the first of them has waited.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Fixed(Policy):
    """Always the same action."""

    action: Action
    limit: int | None = None
    knobs: str = ""

    def __call__(self, waiting, age):
        return self.action


@dataclass(frozen=True)
class ByQueue(Policy):
    """A threshold that follows the load: the longer the queue, the less is deferred.

    With nobody else waiting the last of `actions` is taken, with `places` or more the first, and between them those
    between, in proportion.
    """

    actions: Sequence[Action]
    places: int
    knobs: str = ""

    def __call__(self, waiting, age):
        free = max(0.0, 1 - (waiting - 1) / self.places)
        return self.actions[round(free * (len(self.actions) - 1))]


@dataclass(frozen=True)
class Elastic(Policy):
    """The best action whose predicted latency, queue included, keeps a target; if none does, the quickest.

    The first of the queue has waited `age`, and is answered with the next batch. The last has not waited yet, and is
    answered after all batches before it. Both are to be in time. Arrivals to come are not predicted, so the target is
    below the budget, and how far is the knob.

    Args:
        dial: that predicts. actions: to choose from. target: seconds.
    """

    dial: Dial
    actions: Sequence[Action]
    target: float
    knobs: str = ""
    _options: list[tuple[Action, list[float]]] = field(init=False, repr=False)

    def __post_init__(self):
        actions = efficient(self.dial, self.actions)
        seconds = self.dial.seconds(actions).tolist()
        object.__setattr__(self, "_options", list(zip(actions, seconds, strict=True)))

    def __call__(self, waiting, age):
        service = self.dial.service
        full, rest = divmod(waiting, service.batch)
        for action, seconds in self._options:
            first = age + seconds[min(waiting, service.batch)]
            last = (full * seconds[-1] + seconds[rest]) / service.machines if full else 0.0
            if first <= self.target and last <= self.target:
                return action
        return self._options[-1][0]


def efficient(dial: Dial, actions: Sequence[Action]) -> list[Action]:
    """Those that no other action beats in both quality and seconds of a full batch, from the best to the quickest."""
    seconds = dial.seconds(actions)[:, -1]
    order = sorted(range(len(actions)), key=lambda i: (-actions[i].quality, seconds[i]))
    kept, least = [], math.inf
    for i in order:
        if seconds[i] < least:
            kept.append(actions[i])
            least = seconds[i]
    return kept


@dataclass(frozen=True)
class Family:
    """Policies that differ in their knobs.

    Attributes:
        name: of the family. says: what it does, in a few words.
        candidates: dial and budget in seconds → policies to choose from; none where no action keeps the promise.
        loads: multiples of the base rate at which the budget is to be kept when knobs are chosen. A policy that adapts
            has to keep it at all of them, and a fixed one is set for one.
    """

    name: str
    says: str
    candidates: Callable[[Dial, float], list[Policy]]
    loads: tuple[float, ...] = (1.0,)


def _small(dial: Dial, budget: float) -> list[Policy]:
    action = dial.alone(0)
    return [] if action is None else [Fixed(action)]


def _large(dial: Dial, budget: float) -> list[Policy]:
    return [Fixed(dial.best)]


def _cascade(dial: Dial, budget: float) -> list[Policy]:
    return [Fixed(a, knobs=f"threshold {a.threshold:.4g}, {a.deferral:.0%} deferred") for a in dial.cascade()]


def _threshold(dial: Dial, budget: float) -> list[Policy]:
    path = dial.cascade()
    tops = sorted({max(1, round(len(path) * share)) for share in (0.25, 0.5, 0.75, 1)}) if path else []
    return [
        ByQueue(path[:top], places, f"{path[top - 1].deferral:.0%} deferred, less up to {places} waiting")
        for top in tops
        for places in PLACES[1:]
    ]  # fmt: skip


def _shed(dial: Dial, budget: float) -> list[Policy]:
    return [Fixed(dial.best, places, f"queue of {places}") for places in PLACES]


def _elastic(dial: Dial, budget: float) -> list[Policy]:
    return [Elastic(dial, dial.sizes, share * budget, f"target {share:.0%} of the budget") for share in HEADROOM]


def _elastic_cascade(dial: Dial, budget: float) -> list[Policy]:
    return [Elastic(dial, dial.all, share * budget, f"target {share:.0%} of the budget") for share in HEADROOM]


FAMILIES: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Adds a family of policies.

    Raises:
        CatKerasError: its name is taken, or it is to be fitted at no load.
    """
    if FAMILIES.get(family.name, family) != family:
        raise CatKerasError(f"Policies have different names. Received: {family.name!r} twice. Take another name")
    if not family.loads:
        raise CatKerasError(f"A policy is fitted at one load or more. Received: none for {family.name}")
    for load in family.loads:
        check_number(f"A load of {family.name}", load, "(0, 1000]")
    FAMILIES[family.name] = family
    return family


for _family in (
    Family("small", "always the first model", _small),
    Family("large", "always the last model", _large),
    Family("cascade", "a fixed threshold, set for the base rate", _cascade),
    Family("cascade-2x", "a fixed threshold, set for twice the base rate", _cascade, (2.0,)),
    Family("threshold", "a threshold that falls as the queue grows", _threshold, (1.0, 2.0)),
    Family("shed", "the last model; who finds the queue full gets no answer", _shed, (1.0, 2.0)),
    Family("elastic", "the best model that is predicted to be in time", _elastic, (1.0, 2.0)),
    Family("elastic-cascade", "the best model and threshold that are predicted to be in time", _elastic_cascade,
           (1.0, 2.0)),
):  # fmt: skip
    register(_family)


def get(name: str) -> Family:
    """The family of that name, also of an installed package.

    Raises:
        CatKerasError: there is none, or an entry point fails.
    """
    families = names()
    if name not in families:
        raise unknown_name("policy", name, families)
    return FAMILIES[name]


def names() -> list[str]:
    """All families, ours first."""
    for point in _entry_points():
        _load(point)
    return list(FAMILIES)


@functools.cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(importlib.metadata.entry_points(group=GROUP))


@functools.cache
def _load(point: importlib.metadata.EntryPoint):
    try:
        point.load()
    except Exception as error:
        raise CatKerasError(
            f"Entry point {point.name} = {point.value} of group {GROUP} failed ({type(error).__name__}: {error}). "
            "Correct or uninstall its package"
        ) from error
