"""How long a model takes for a batch, from measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cat_keras.errors import CatKerasError, check_number, check_numbers

BATCH = "[1, 65536]"  # whole: requests that are answered together
RANKS = 200  # at most so many quantiles of the measurements of one batch size are kept


@dataclass(frozen=True, eq=False)
class Latency:
    """Seconds of a batch by its size, as a distribution: batches of one size differ in their texts.

    Attributes:
        table: (batch sizes, ranks) float64. Row b − 1 has equally likely durations of a batch of b, increasing. Between
            measured sizes the durations of equal rank are interpolated.

    >>> latency = Latency.of({1: [0.2], 3: [0.3, 0.5]})
    >>> latency.mean(1), round(latency.mean(2), 3), latency.most
    (0.2, 0.3, 3)
    """

    table: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, measured: Mapping[int, Sequence[float]]) -> "Latency":
        """From seconds that batches took.

        Args:
            measured: batch size → seconds of each batch of that size that was measured; with a size of 1.

        Raises:
            CatKerasError: nothing was measured for one request alone, or a number is out of range.
        """
        if 1 not in measured:
            raise CatKerasError(
                "Latencies are measured for a batch of 1 and for larger ones. Received: batches of "
                f"{', '.join(map(str, sorted(measured))) or 'no size'}. Measure one request alone as well"
            )
        for size in measured:
            check_number("A batch size", size, BATCH, whole=True)
        samples = {size: check_numbers(f"Seconds of a batch of {size}", measured[size], "(0, 1e6]")
                   for size in sorted(measured)}  # fmt: skip
        if empty := [size for size, seconds in samples.items() if not seconds.size]:
            raise CatKerasError(f"A batch size has at least one measurement. Received: none of {empty[0]}")
        ranks = min(RANKS, max(map(len, samples.values())))
        places = (np.arange(ranks) + 0.5) / ranks
        # Hazen's quantiles of n samples at the middles of n equal parts are the samples; others would cut their tail.
        quantiles = np.array([np.quantile(seconds, places, method="hazen") for seconds in samples.values()])
        sizes = np.arange(1, max(samples) + 1)
        return cls(np.array([np.interp(sizes, list(samples), column) for column in quantiles.T]).T)

    @property
    def most(self) -> int:
        """The largest batch that was measured."""
        return len(self.table)

    def mean(self, batch: int) -> float:
        """Mean seconds of a batch of that size."""
        check_number("batch", batch, f"[1, {self.most}]", whole=True)
        return float(self.table[batch - 1].mean())

    def at_pace(self, pace: float) -> "Latency":
        """The same with all seconds times `pace`, of a machine that is slower or, below 1, faster."""
        return Latency(self.table * check_number("pace", pace, "[1e-6, 1e6]"))

    def means(self) -> np.ndarray:
        """(most + 1,) mean seconds of a batch of 0, 1, …: nothing takes no time."""
        return np.concatenate([[0.0], self.table.mean(1)])
