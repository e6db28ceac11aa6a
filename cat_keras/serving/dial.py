"""What a service may do with a request, and how well and how fast that is: the positions of its dial."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cat_keras.cascades.guarantee import Guarantee
from cat_keras.cascades.playback import threshold
from cat_keras.errors import CatKerasError, check_number
from cat_keras.serving.service import Service

LEVELS = 20  # shares of deferral of a cascade: 0, 5 %, 10 %, … 100 %


@dataclass(frozen=True)
class Action:
    """A server answers, and answers whose score is below the threshold are deferred to the last server.

    Attributes:
        server: place in `Service.servers`. threshold: −inf keeps every answer.
        deferral, quality: what the action gives on the examples that the dial was made from.
    """

    server: int
    threshold: float
    deferral: float
    quality: float


@dataclass(frozen=True, eq=False)
class Dial:
    """All actions of a service that keep a promise, if one is given.

    Attributes:
        service: it.
        rows: places of the examples that qualities, deferral and certificates are computed from. None of them should be
            served when policies are judged.
        guarantee: a `Guarantee` of loss against the last server, that every action keeps. As they are certified
            jointly, so does every mixture of them, as long as the load decides which one, and not the example.
    """

    service: Service
    rows: np.ndarray = field(repr=False)
    guarantee: Guarantee | None = None
    levels: int = LEVELS

    def __post_init__(self):
        check_number("levels", self.levels, "[1, 1000]", whole=True)
        if not len(self.rows):
            raise CatKerasError("A dial is made from examples. Received: none")
        if self.guarantee is not None and self.guarantee.of != "loss":
            raise CatKerasError(
                "What is promised under load bounds the loss against the largest model. Received: a guarantee of "
                f"{self.guarantee.of}. Give Guarantee(alpha, delta)"
            )

    @cached_property
    def _paths(self) -> list[list[Action]]:
        """Per server but the last: from deferring everything to keeping everything, as far as the promise holds."""
        return [self._path(server) for server in range(len(self.service.servers) - 1)]

    def _path(self, place: int) -> list[Action]:
        server, last = self.service.servers[place], self.service.servers[-1]
        own, best = server.quality[self.rows], last.quality[self.rows]
        if server.score is None:
            thresholds, scores = [-np.inf], np.zeros(len(self.rows))
        else:
            scores = server.score[self.rows]
            rates = np.arange(self.levels, -1, -1) / self.levels
            # Scores with many ties have fewer thresholds than levels.
            thresholds = list(dict.fromkeys(threshold(scores, rate) for rate in rates))
        deferred = np.array([scores < limit for limit in thresholds])
        quality = np.where(deferred, best, own)
        kept = len(thresholds)
        if self.guarantee is not None:
            # Each server has its own sequence of tests, so the chance to fail is shared among them.
            alone = Guarantee(
                self.guarantee.alpha, self.guarantee.delta / (len(self.service.servers) - 1), test=self.guarantee.test
            )
            kept = alone.certified(best - quality)
        return [
            Action(place, float(limit), float(share.mean()), float(value.mean()))
            for limit, share, value in list(zip(thresholds, deferred, quality, strict=True))[:kept]
        ]

    @property
    def best(self) -> Action:
        """The last server alone."""
        last = len(self.service.servers) - 1
        return Action(last, -np.inf, 0.0, float(self.service.servers[last].quality[self.rows].mean()))

    def alone(self, server: int) -> Action | None:
        """A server without deferral, in place of `server`; None where that does not keep the promise."""
        last = len(self.service.servers) - 1
        if check_number("server", server, f"[0, {last}]", whole=True) == last:
            return self.best
        return next((action for action in self._paths[server] if action.threshold == -np.inf), None)

    def cascade(self, server: int = 0) -> list[Action]:
        """The cascade of a server and the last one, from deferring nothing (or as little as the promise allows) on."""
        check_number("server", server, f"[0, {len(self._paths) - 1}]", whole=True)
        return self._paths[server][::-1]

    @property
    def sizes(self) -> list[Action]:
        """Every server alone that keeps the promise."""
        alone = (self.alone(server) for server in range(len(self.service.servers)))
        return [action for action in alone if action is not None]

    @property
    def all(self) -> list[Action]:
        """Every action."""
        return [*(action for path in self._paths for action in path), self.best]

    def seconds(self, actions: Sequence[Action]) -> np.ndarray:
        """(actions, batch + 1): predicted seconds of a machine for 0, 1, … requests, deferred ones included."""
        means = [server.latency.means()[: self.service.batch + 1] for server in self.service.servers]
        counts = np.arange(self.service.batch + 1)
        return np.array(
            [means[a.server] + np.interp(a.deferral * counts, counts, means[-1]) * (a.deferral > 0) for a in actions]
        )

    def capacity(self, action: Action) -> float:
        """Requests a second that all machines can answer by an action, in full batches."""
        return self.service.machines * self.service.batch / float(self.seconds([action])[0, -1])
