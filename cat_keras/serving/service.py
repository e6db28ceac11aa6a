"""What answers the requests: models, with what each would answer and how long it takes, on machines they share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cat_keras.errors import CatKerasError, check_number, check_numbers
from cat_keras.serving.latency import Latency


@dataclass(frozen=True, eq=False)
class Server:
    """One model, or one size of an elastic model. All servers of a service know the same n examples.

    Attributes:
        name: of the model.
        latency: of its batches.
        quality: (n,) of its answer to each example, in [0, 1].
        score: (n,) deferral score of each answer (higher = surer); None where it defers nothing.
    """

    name: str
    latency: Latency
    quality: np.ndarray = field(repr=False)
    score: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        check_numbers(f"The quality of {self.name}", self.quality, "[0, 1]")
        if self.score is not None and np.shape(self.score) != np.shape(self.quality):
            raise CatKerasError(
                f"A server has a score and a quality for each example. Received: {np.shape(self.score)} scores, "
                f"{np.shape(self.quality)} qualities of {self.name}"
            )


@dataclass(frozen=True, eq=False)
class Service:
    """Servers, from the quickest to the best, on machines that each hold all of them and run one batch at a time.

    That all policies have the same machines is what makes them comparable. A request that a server defers goes to the
    last server.

    Attributes:
        servers: two or more. batch: at most so many requests are answered together. machines: how many there are.
    """

    servers: tuple[Server, ...]
    batch: int = 32
    machines: int = 1

    def __post_init__(self):
        if len(self.servers) < 2:
            raise CatKerasError(f"A service has two servers or more. Received: {len(self.servers)}")
        sizes = {len(server.quality) for server in self.servers}
        if len(sizes) > 1 or 0 in sizes:
            raise CatKerasError(f"All servers know the same examples. Received: servers of {sorted(sizes)} examples")
        check_number("machines", self.machines, "[1, 1024]", whole=True)
        most = min(self.servers, key=lambda server: server.latency.most)
        check_number(
            "batch", self.batch, f"[1, {most.latency.most}]", whole=True,
            remedy=f"{most.name} was measured up to batches of {most.latency.most}",
        )  # fmt: skip

    def at_pace(self, paces: Sequence[float]) -> "Service":
        """The same with the latencies of every server times its pace, see `Latency.at_pace`."""
        paced = zip(self.servers, paces, strict=True)
        return replace(self, servers=tuple(replace(s, latency=s.latency.at_pace(pace)) for s, pace in paced))

    @property
    def examples(self) -> int:
        """How many examples the servers know."""
        return len(self.servers[0].quality)
