"""Metrics of a cascade under the names that other papers give them: those of a curve, and those of a score."""

from collections.abc import Iterable

import numpy as np

from cat_keras.cascades import deferral
from cat_keras.evaluation import confidence
from cat_keras.evaluation.tradeoff import DeferralCurve

NAN = float("nan")
Range = tuple[float, float]


def cost_range(curves: Iterable[DeferralCurve]) -> Range:
    """Range of costs per query over which the AIQ of all these curves can be compared; NaN without curves.

    It begins at the most expensive small model alone, since every cascade has a quality from there on, and ends at the
    most expensive "always defer".
    """
    curves = list(curves)
    if not curves:
        return NAN, NAN
    return max(float(curve.cost[0]) for curve in curves), max(float(curve.cost[-1]) for curve in curves)


def of_curve(curve: DeferralCurve, budgets: Range, large_cost: float) -> dict[str, float]:
    """Metrics of a trade-off, see `DeferralCurve`; NaN where undefined.

    Args:
        curve: of a cascade. budgets: that AIQ is over. large_cost: per query of the large model alone.
    """
    return {
        "relative_audc": curve.relative_audc,
        "aiq": curve.aiq(*budgets) if budgets[0] < budgets[1] else NAN,
        "apgr": curve.apgr,
        "cpt_50": curve.cpt(0.5),
        "cpt_80": curve.cpt(0.8),
        "qnc": curve.qnc,
        "peak": curve.peak,
        "quality_at_half_cost": curve.quality_at_cost(large_cost / 2),
    }


def of_score(
    score: np.ndarray, rule: str, small_right: np.ndarray, large_right: np.ndarray, quality: np.ndarray
) -> dict[str, float]:
    """Metrics of a deferral score on one task, see `cat_keras.evaluation.confidence`; NaN where undefined.

    Args:
        score: (n,) float of the rule named. small_right, large_right: (n,) bool. quality: (n,) of the small model.
    """
    probability, loss = _probability(score, rule), 1 - quality
    has_probability = probability is not None
    masses = confidence.mass_table(small_right, large_right)._asdict()
    return {
        "auroc_useful": confidence.auroc(-score, large_right & ~small_right),
        "ece": confidence.ece(probability, small_right) if has_probability else NAN,
        "brier": confidence.brier(probability, small_right) if has_probability else NAN,
        "aurc": confidence.aurc(score, loss),
        "augrc": confidence.augrc(score, loss),
        "s_o": confidence.density_overlap(probability, small_right, points=256) if has_probability else NAN,
        **{f"mass_{name}": share for name, share in masses.items()},
    }


def _probability(score: np.ndarray, rule: str) -> np.ndarray | None:
    """The score as a probability, of rules whose score is one or the logarithm of one; None for all others."""
    if rule.startswith("chow-"):
        return np.minimum(np.exp(score), 1)  # rounding may lift a log-probability above 0 by its last digit
    return score if rule == "max-probability" or rule in deferral.GIVEN else None
