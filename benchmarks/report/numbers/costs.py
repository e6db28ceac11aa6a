"""What an answer costs, in the units that a report keeps apart: FLOPs, measured seconds, a price given by the user."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.report.reading.load import Columns, Run
from cat_keras.errors import CatKerasError


class Kind(NamedTuple):
    """A unit of cost. name: of its column. label: on axes. units: sizes and names, the largest first."""

    name: str
    label: str
    units: tuple[tuple[float, str], ...]

    def unit(self, value: float) -> tuple[float, str]:
        """The largest unit that `value` fills, in which it has few digits."""
        return next((unit for unit in self.units if value >= unit[0]), self.units[-1])


FLOPS = Kind(
    "flops", "FLOPs per query", ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP"))
)
SECONDS = Kind("seconds", "seconds per query, measured", ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))
PRICE = Kind("price", "price of a million queries", ((1.0, ""),))


Price = tuple[float, float]  # of a million tokens read and of a million written, in any one currency


@dataclass(frozen=True)
class Prices:
    """Prices of either model's tokens."""

    small: Price
    large: Price

    def __str__(self):
        small, large = ("{:g}/{:g}".format(*price) for price in (self.small, self.large))
        return f"Prices given, per million tokens read/written: small {small}, large {large}"


def prices(small: str | None, large: str | None) -> Prices | None:
    """Prices as typed: `"0.10"` per million tokens, or `"0.10/0.40"` for tokens read and written.

    Returns:
        None when neither is given.

    Raises:
        CatKerasError: only one is given, or one is no such number.
    """
    if small is None and large is None:
        return None
    if small is None or large is None:
        raise CatKerasError(f"Give the prices of both models or of none; received small {small!r}, large {large!r}")
    return Prices(_pair(small), _pair(large))


def _pair(text: str) -> Price:
    try:
        numbers = [float(part) for part in text.split("/")]
        if not np.isfinite(numbers).all() or min(numbers) < 0 or len(numbers) > 2:
            raise ValueError
    except ValueError:
        raise CatKerasError(
            f"A price is per million tokens, 0.10, or 0.10/0.40 for tokens read and written; received {text!r}"
        ) from None
    return numbers[0], numbers[-1]


def known(run: Run, prices: Prices | None = None) -> list[Kind]:
    """The units in which the cost of every answer of the run is known."""
    sides = [*run.small.values(), *run.large.values()]
    found = [base(run)]
    if sides and all(_measured(side["seconds"]) for side in sides):
        found.append(SECONDS)
    counted = sides and all("n_prompt" in side and "n_answer" in side for side in sides)
    return [*found, PRICE] if prices and counted else found


def base(run: Run) -> Kind:
    """The unit of the main table: FLOPs, or what imported answers cost."""
    if not run.imported:
        return FLOPS
    cost = run.manifest["imported"]["cost"]
    prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ")) if cost["unit"] not in ("", "calls") else ((1.0, ""),)
    return Kind(FLOPS.name, cost["label"], tuple((size, prefix + cost["unit"]) for size, prefix in prefixes))


def _measured(seconds: np.ndarray) -> bool:
    return bool(np.isfinite(seconds).all() and seconds.any())


def column(answers: Columns, kind: Kind, price: Price | None = None) -> np.ndarray:
    """(n,) float64: what each answer of one model costs, in units of `kind`.

    Args:
        answers: columns of one model's predictions on a task, see `Run`. price: of that model's tokens.

    The price of an answer is that of the tokens read and written, all options counted in a classification, per million
    queries.
    """
    if kind.name != PRICE.name:
        return answers[kind.name].astype(np.float64)
    # Prices are per million tokens, and a million queries are paid: the millions cancel.
    return answers["n_prompt"].astype(np.float64) * price[0] + answers["n_answer"].astype(np.float64) * price[1]
