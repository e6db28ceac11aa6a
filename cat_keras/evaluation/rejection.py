"""Rejecting: the risk of what is kept when inputs from elsewhere are mixed in.

Every row is a query. `outside` says whether it comes from elsewhere, so that no answer to it is right; `loss` says how
wrong the answer is otherwise. A score orders the rows, higher = kept. Queries are rejected from the lowest score on.
Rows of equal scores are rejected together: the curve is straight over them, as a random order gives on average.

    >>> curve = joint_curve(score=[3, 1, 2, 0], loss=[0, 1, 0, 0], outside=[0, 0, 1, 1], c_fn=0.75)
    >>> curve.rejected.tolist(), curve.joint.tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.875, 0.5, 0.375, 0.0, 0.0])
    >>> curve.area
    0.328125
"""

from dataclasses import dataclass

import numpy as np

from cat_keras.errors import SHARE, CatKerasError, check_number
from cat_keras.evaluation import vectors

C_FN = 0.75
"""Weight of keeping what comes from elsewhere, in the joint risk; the experiments of arXiv 2301.12386 take this one."""


@dataclass(frozen=True, eq=False)
class JointCurve:
    """Risks at every share rejected, (k,), from keeping all to keeping nothing.

    Attributes:
        rejected: share of all rows. joint: joint risk, see `joint_curve`.
        kept: mean loss of the kept rows, where those from elsewhere have loss 1; 0 where nothing is kept.
        outside: share of the rows from elsewhere that is kept.
    """

    rejected: np.ndarray
    joint: np.ndarray
    kept: np.ndarray
    outside: np.ndarray

    @property
    def area(self) -> float:
        """`∫_0^1 joint d(rejected)`, by trapezoids; lower is better."""
        return float(np.trapezoid(self.joint, self.rejected))

    def joint_at(self, rejected: float) -> float:
        """The joint risk when this share of the rows is rejected, in between along a straight line."""
        return float(np.interp(check_number("The share rejected", rejected, SHARE), self.rejected, self.joint))


def joint_curve(score, loss, outside, c_fn: float = C_FN) -> JointCurve:
    """`(1 − c_fn) · P_in(wrong, kept) + c_fn · P_out(kept)` at every threshold. arXiv 2301.12386.

    Args:
        score: (n,) float, higher = kept first. loss: (n,) in [0, 1], of any value where `outside`.
        outside: (n,) bool or 0/1, with at least one of each. c_fn: in [0, 1].
    """
    score = vectors.finite("score", score)
    value, lost, outside = _values(loss, outside, c_fn, len(score))
    order = np.argsort(score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.inf))

    def left(column):  # what is still kept of a column, after each group of equal scores is rejected
        gone = np.concatenate([[0.0], np.cumsum(column[order])[last]])
        return np.maximum(gone[-1] - gone, 0.0)

    count = left(np.ones(len(score)))
    return JointCurve(
        rejected=1 - count / len(score),
        joint=left(value),
        kept=left(lost) / np.maximum(count, 1),
        outside=left(outside.astype(np.float64)) / outside.sum(),
    )


def _values(loss, outside, c_fn, n) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What keeping each row adds to the joint risk, its loss, and whether it comes from elsewhere; each (n,)."""
    outside = vectors.true_or_false("outside", outside, n)
    loss = np.where(outside, 1.0, vectors.within_unit("loss", loss, n))
    check_number("c_fn", c_fn, SHARE)
    if outside.all() or not outside.any():
        raise CatKerasError(
            f"A joint risk has inputs of both kinds. Received: {int(outside.sum())} of {n} from elsewhere. Mix some in"
        )
    return np.where(outside, c_fn / outside.sum(), (1 - c_fn) * loss / (~outside).sum()), loss, outside


def resampled(score, loss, outside, c_fn: float, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve in resamples: `rejected` and `joint`, both (R, distinct scores + 1).

    Args:
        weights: (R, n) how often each resample draws each row; as many from either side as there are.
    """
    score = vectors.finite("score", score)
    value, _, _ = _values(loss, outside, c_fn, len(score))
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    drawn = weights[:, order]
    gone = [np.cumsum(np.add.reduceat(column, starts, axis=1), axis=1) for column in (drawn, drawn * value[order])]
    rejected, lost = (np.pad(column, ((0, 0), (1, 0))) for column in gone)
    return rejected / rejected[:, -1:], np.maximum(lost[:, -1:] - lost, 0.0)


def plugin_score(confidence, ratio, c_fn: float = C_FN, inside: float = 1.0) -> np.ndarray:
    """The score of the plug-in rule, (n,) ≤ 0, higher = keep: minus what keeping costs per share of the budget.

    `−[(1 − c_fn)(1 − P(right)) + c_fn · r] / [π + (1 − π) r]` with `r = p_out / p_in`. The rule of arXiv 2301.12386
    rejects iff `(1 − c_fn)(1 − P(right)) + c_out · r > c_in`, with `c_in = λπ` and `c_out = c_fn − λ(1 − π)`: that is
    this score being below −λ. So the thresholds on this score are all multipliers λ at once, and the λ of a budget is
    the threshold that rejects this share of the traffic. (The factor 1 − c_fn and this form follow from the joint risk;
    they are ours.)

    Args:
        confidence: (n,) P(right) in [0, 1]. ratio: (n,) r ≥ 0, finite.
        inside: π, the share of the traffic that is not from elsewhere.
    """
    confidence = vectors.within_unit("confidence", confidence)
    ratio = vectors.finite("ratio", ratio, len(confidence))
    check_number("c_fn", c_fn, SHARE)
    check_number("inside", inside, "(0, 1]")
    if ratio.min() < 0:
        raise CatKerasError(f"A density ratio is at least 0. Received: {ratio.min()}. Take its exponential")
    return -((1 - c_fn) * (1 - confidence) + c_fn * ratio) / (inside + (1 - inside) * ratio)
