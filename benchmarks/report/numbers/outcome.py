"""What resamples say of a difference: its p-value; and, corrected, a win, a tie or a loss."""

import numpy as np

from cat_keras.evaluation import significance

SIGNIFICANT = 0.05


def p_value(values: np.ndarray) -> float:
    """Of "it is 0", from (1 + R,) values of the data and of each resample; NaN where the interval is, too.

    Undefined resamples are left out, as by `Interval.of_defined`.
    """
    samples = values[1:][~np.isnan(values[1:])]
    return significance.two_sided(samples) if len(samples) and not np.isnan(values[0]) else float("nan")


def outcome(difference: float, p_holm: float) -> str:
    """ "win" or "loss", by the sign of the difference, where `p_holm` < 0.05; otherwise, also for NaN, "tie"."""
    if not p_holm < SIGNIFICANT:
        return "tie"
    return "win" if difference > 0 else "loss"
