"""What an answer costs, in each of its kinds: FLOPs, measured seconds, and a price that the user gave.

Where the FLOPs of a model are not known, the calls of the large model stand in their place.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.report.reading.load import Columns, Run
from cat_keras.errors import CatKerasError


class Kind(NamedTuple):
    """A kind of cost. name: of its column. label: on axes. units: sizes and names, the largest first."""

    name: str
    label: str
    units: tuple[tuple[float, str], ...]

    def unit(self, value: float) -> tuple[float, str]:
        """The largest unit that is not larger than `value`, so that the value has few digits in it."""
        return next((unit for unit in self.units if value >= unit[0]), self.units[-1])


FLOPS = Kind(
    "flops", "FLOPs per query", ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP"))
)
SECONDS = Kind("seconds", "seconds per query, measured", ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))
CALLS = Kind("calls", "calls of the large model per query", ((1.0, ""),))
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
        CatKerasError: only one is given, or one is not of this form.
    """
    if small is None and large is None:
        return None
    if small is None or large is None:
        raise CatKerasError(f"Give the prices of both models or of none; received small {small!r}, large {large!r}")
    return Prices(_price(small), _price(large))


def of_profile(run: Run) -> Prices | None:
    """The prices that the profile of a run gives; None unless it gives both."""
    settings = run.manifest.get("settings") or {}
    both = [(settings.get(role) or {}).get("price") for role in ("small", "large")]
    return Prices(*map(tuple, both)) if all(both) else None


def _price(text: str) -> Price:
    try:
        numbers = [float(part) for part in text.split("/")]
        if not np.isfinite(numbers).all() or min(numbers) < 0 or len(numbers) > 2:
            raise ValueError
    except ValueError:
        raise CatKerasError(
            f"A price is per million tokens, 0.10, or 0.10/0.40 for tokens read and written; received {text!r}"
        ) from None
    return numbers[0], numbers[-1]


def share(value, whole: float):
    """`value / whole` of a number or an array; NaN where the whole is 0 or not known, and nothing is a share of it."""
    return value / whole if whole > 0 else value * float("nan")


def share_text(value: float, whole: float) -> str:
    """` (34%)` behind a cost; "" where it is no share of the whole."""
    part = share(value, whole)
    return "" if np.isnan(part) else f" ({part:.0%})"


def known(run: Run, prices: Prices | None = None) -> list[Kind]:
    """The kinds of cost that are known of every answer of the run."""
    every_cell = [*run.small.values(), *run.large.values()]
    kinds = [CALLS] if any(np.isnan(cell["flops"]).any() for cell in every_cell) else [base(run)]
    if every_cell and all(_is_measured(cell["seconds"]) for cell in every_cell):
        kinds.append(SECONDS)
    if prices and every_cell and all("n_prompt" in cell and "n_answer" in cell for cell in every_cell):
        kinds.append(PRICE)
    return kinds


def base(run: Run) -> Kind:
    """The kind of cost of the main table: FLOPs, or what imported answers cost."""
    if not run.imported:
        return FLOPS
    cost = run.manifest["imported"]["cost"]
    prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ")) if cost["unit"] not in ("", "calls") else ((1.0, ""),)
    return Kind(FLOPS.name, cost["label"], tuple((size, prefix + cost["unit"]) for size, prefix in prefixes))


def _is_measured(seconds: np.ndarray) -> bool:
    return bool(np.isfinite(seconds).all() and seconds.any())


def column(model: str, answers: Columns, kind: Kind, price: Price | None = None) -> np.ndarray:
    """(n,) float64: what each answer of one model costs, in units of `kind`.

    Args:
        model: "small" or "large". answers: columns of its predictions on a task, see `Run`. price: of its tokens.

    The price of an answer is that of all tokens read and written for it, in a classification those of every option.
    """
    if kind is CALLS:
        return np.full(len(answers["quality"]), float(model == "large"))
    if kind.name != PRICE.name:
        return answers[kind.name].astype(np.float64)
    # The price of a token is per million tokens, the price of an answer per million queries: the millions cancel.
    return answers["n_prompt"].astype(np.float64) * price[0] + answers["n_answer"].astype(np.float64) * price[1]
