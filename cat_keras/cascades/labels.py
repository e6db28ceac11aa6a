"""How many labelled rows a guarantee takes, before anybody labels them."""

import numpy as np

from cat_keras.cascades.guarantee import Guarantee

POWER = 0.8  # chance, over the draw of the rows, that the guarantee is certified
DRAWS = 50
MOST = 200_000  # rows, beyond which nothing is estimated
STEP = 1.05  # how finely the number is searched


def rows_needed(
    guarantee: Guarantee, losses: np.ndarray, binary: bool, rng: np.random.Generator, power: float = POWER
) -> int | None:
    """Rows of which the guarantee would be certified with probability `power`, if they are like these.

    By resampling: rows of every number tried are drawn from these with replacement, and tested. The test is of one
    threshold; the fixed sequence of `Guarantee` also has to pass those before it, which lose less.

    Args:
        guarantee: what is promised. losses: (n,) of one threshold, in the unit of `guarantee.of`.
        binary: as in `Guarantee.certified`. rng: draws the rows.

    Returns:
        about 5 % more or less; None where the mean loss is not below alpha, or over 200,000 rows would be needed.
    """
    if losses.mean() >= guarantee.alpha:
        return None

    def share(n: int) -> float:
        rows = rng.integers(len(losses), size=(DRAWS, n))
        return float(np.mean(guarantee.p_values(losses[rows], guarantee.alpha, binary) <= guarantee.delta))

    high = 16
    while share(high) < power:
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high > low * STEP and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if share(middle) >= power else (middle, high)
    return high
