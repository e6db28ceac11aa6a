"""Win, tie or loss: what a corrected p-value says of a difference."""

SIGNIFICANT = 0.05


def outcome(difference: float, p_holm: float) -> str:
    """ "win" or "loss", by the sign of the difference, where `p_holm` < 0.05; otherwise, also for NaN, "tie"."""
    if not p_holm < SIGNIFICANT:
        return "tie"
    return "win" if difference > 0 else "loss"
