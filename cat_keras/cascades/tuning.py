"""Thresholds of a cascade from columns of numbers: what `Cascade.calibrate` does, for models that ran elsewhere.

>>> rng = np.random.default_rng(0)
>>> right = rng.random((2, 4000)) < [[0.7], [0.9]]
>>> score = right[0] + rng.normal(size=4000)  # knows something of whether the small model is right
>>> found = tune(score, right, cost=[1.0, 10.0], max_cost=5.0)
>>> found.verdict.worth, bool(found.verdict.quality.estimate > right[0].mean())
('yes', True)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.calibration import LEVELS, PLANNING, Calibration, check_limit, on_stages
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.cascades.labels import rows_needed
from cat_keras.cascades.playback import Stages, common_path, threshold
from cat_keras.cascades.verdict import Verdict, judge
from cat_keras.errors import SEED, CatKerasError, check_number
from cat_keras.evaluation import vectors
from cat_keras.evaluation.grid import on_grid

HELD_OUT = 0.5  # share of the rows that thresholds are judged on and not chosen on
HALF = 0.5  # of a promised loss: what a threshold may lose that the number of rows is estimated for


@dataclass(frozen=True, eq=False)
class Tuning:
    """What `tune` found.

    Attributes:
        thresholds: one per stage but the last; stage i passes on a query iff its score is below `thresholds[i]`.
        calibration: what was chosen, and what it gave on the rows that it was chosen on.
        verdict: what it gives on rows that it was not chosen on, and whether it is worth it; None without such rows.
        rows_needed: labelled rows, about, with which the guarantee would hold of thresholds that lose half of what it
            allows, at `rows_deferral` of the queries; None without a guarantee, or where no number is enough.
        rows_deferral: mean share of the queries that those thresholds pass on.
        reject_threshold: a query is rejected iff its rejection score, on the grid of `evaluation.grid`, is below it;
            None where nothing is to be rejected.
        rejected: share of the rows that is rejected, of those that are held out where there are any; None likewise.
    """

    thresholds: tuple[float, ...]
    calibration: Calibration
    verdict: Verdict | None
    rows_needed: int | None = None
    rows_deferral: float | None = None
    reject_threshold: float | None = None
    rejected: float | None = None


def tune(
    scores,
    quality,
    cost=None,
    *,
    max_cost: float | None = None,
    min_quality: float | None = None,
    max_deferral: float | None = None,
    guarantee: Guarantee | tuple | None = None,
    ids: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    held_out: float = HELD_OUT,
    binary: bool = False,
    seed: int = 0,
    method: str = "grid",
    reject: float | None = None,
    rejection=None,
) -> Tuning:
    """Thresholds for two or more models, from what all of them answered to the same n queries.

    Part of the rows is held out: thresholds are chosen on the others, and judged on these. Which rows is decided by a
    hash of their ids (of their places where they have none), so that the same rows give the same split in any order.

    Args:
        scores: (stages − 1, n) float, finite, of every model but the last, higher = surer; (n,) for two models.
        quality: (stages, n) in [0, 1].
        cost: (stages, n), or one number per stage, of each model's own answer, ≥ 0, in any one unit; by default 1 for
            the last model and 0 for the others: cost is then the share of queries that the last one is asked.
        max_cost, min_quality, max_deferral, guarantee: one limit, or a guarantee with at most one of them; see
            `Cascade.calibrate`.
        ids: (n,) names of the rows. tasks: (n,) their tasks; the bootstrap draws within each.
        names: of the models, for sentences. held_out: share of the rows, in [0, 1).
        binary: whether qualities are 0 and 1 by their nature, which makes a guarantee of risk sharper.
        seed: of the bootstrap and of the split.
        method: "grid" tries combinations of thresholds; "rational" takes those that are best under a model of how the
            confidences go together, for three and more stages with few labels (`cascades.rational`), and takes
            `max_cost` or `min_quality`.
        reject: share in (0, 1) of the queries that may be rejected, which get no answer. Thresholds are then chosen for
            the others, and judged on the others.
        rejection: (n,) for `reject`, scores of the queries, the lowest of which are rejected, e.g. of
            `rejection.get("plugin-ood")`.

    Returns:
        the thresholds, what they give, and whether a cascade is worth it.

    Raises:
        CatKerasError: columns that do not fit together, not one limit, too few rows, or a limit or guarantee that no
            threshold keeps; of a guarantee the message says how many rows would do; a budget without scores, out of
            range or with a guarantee.
    """
    guarantee = guarantee if guarantee is None or isinstance(guarantee, Guarantee) else Guarantee(*guarantee)
    limit = check_limit(guarantee, max_cost=max_cost, min_quality=min_quality, max_deferral=max_deferral)
    stages = columns(scores, quality, cost)
    n = stages.scores.shape[1]
    check_number("held_out", held_out, "[0, 1)", remedy="Try 0.5")
    check_number("seed", seed, SEED, whole=True)
    tasks = np.full(n, "") if tasks is None else np.asarray(tasks, dtype=str)
    order = split_order(n, ids, tasks, seed)
    chosen_on, judged_on = np.split(order, [n - int(n * held_out)])
    rejecting = _rejecting(reject, rejection, guarantee, n, chosen_on, judged_on)
    if rejecting:
        chosen_on, judged_on, *rejecting = rejecting
    planning = int(len(chosen_on) * PLANNING) if guarantee else 0
    if len(chosen_on) - planning < 2 or (guarantee and not planning) or 0 < len(judged_on) < 2:
        raise CatKerasError(
            f"Thresholds are chosen on some rows and judged on others. Received: {n} rows, too few for that"
        )
    tested = part(stages, chosen_on[planning:])
    planned = part(stages, chosen_on[:planning]) if guarantee else None
    rng = np.random.default_rng(seed)
    rows, deferral = _needed(guarantee, tested, planned, binary, rng) if guarantee else (None, None)
    try:
        calibration = on_stages(tested, limit, guarantee, planned, binary, fitted=planning, method=method)
    except CatKerasError as error:
        if guarantee and rows:
            raise CatKerasError(
                f"{error} About {rows:,} labelled rows to choose on would do, where {len(chosen_on):,} are now"
            ) from None
        raise
    verdict = None
    if len(judged_on):
        verdict = judge(part(stages, judged_on), calibration.thresholds, tasks[judged_on], seed=seed, names=names,
                        known_cost=cost is not None)  # fmt: skip
    return Tuning(calibration.thresholds, calibration, verdict, rows, deferral, *rejecting)


def _rejecting(reject, scores, guarantee, n: int, chosen_on: np.ndarray, judged_on: np.ndarray):
    """Both lists of rows without those that are rejected, the threshold and the share rejected; () for no request."""
    if reject is None and scores is None:
        return ()
    if reject is None or scores is None or guarantee:
        received = "reject= with guarantee=" if guarantee else "reject= alone" if scores is None else "rejection= alone"
        raise CatKerasError(
            "Rejecting takes a share, reject=, and a score per query, rejection=, and no guarantee, which is of all "
            f"queries. Received: {received}"
        )
    check_number("reject", reject, "(0, 1)", remedy="It is the share of the queries that may be rejected")
    scores = on_grid(vectors.finite("rejection", scores, n))
    limit = threshold(scores[chosen_on], reject)
    share = float(np.mean(scores[judged_on if len(judged_on) else chosen_on] < limit))
    return *(rows[scores[rows] >= limit] for rows in (chosen_on, judged_on)), limit, share


def columns(scores, quality, cost=None) -> Stages:
    """Columns as `Stages`, checked.

    Raises:
        CatKerasError: shapes that do not fit, a score or a quality that is not finite or out of range, a negative cost.
    """
    try:
        scores, quality = (np.atleast_2d(np.asarray(each, dtype=np.float64)) for each in (scores, quality))
    except (TypeError, ValueError) as error:
        raise CatKerasError(f"Scores and qualities are numbers ({error}). Received: others") from None
    stages, n = quality.shape if quality.ndim == 2 else (0, 0)
    if stages < 2 or scores.shape != (stages - 1, n) or not n:
        raise CatKerasError(
            "Scores are (stages − 1, n) and qualities (stages, n), of at least two stages. Received: shapes "
            f"{scores.shape} and {quality.shape}. Leave out the score of the last model"
        )
    vectors.finite("score", scores.ravel())
    vectors.within_unit("quality", quality.ravel())
    if cost is None:
        cost = np.append(np.zeros(stages - 1), 1.0)
    cost = np.asarray(cost, dtype=np.float64)
    if cost.shape not in ((stages,), (stages, n)):
        raise CatKerasError(
            f"Costs are one number per stage, ({stages},), or one per answer, {(stages, n)}. Received: {cost.shape}"
        )
    cost = np.broadcast_to(cost[:, None] if cost.ndim == 1 else cost, (stages, n))
    if vectors.summable("cost", cost.ravel()).min() < 0:
        raise CatKerasError(f"A cost is at least 0. Received: {cost.min()}. Check its unit and sign")
    return Stages(scores, quality, np.ascontiguousarray(cost))


def split_order(n: int, ids: Sequence[str] | None, tasks: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows in an order that nothing but their task and id decides: the first are chosen on, the last judged on.

    Raises:
        CatKerasError: as many ids or tasks as there are rows it is not, or two of one task are alike.
    """
    ids = [str(i) for i in range(n)] if ids is None else list(map(str, ids))
    if len(ids) != n or len(tasks) != n:
        raise CatKerasError(f"Rows have an id and a task each. Received: {n} rows, {len(ids)} ids, {len(tasks)} tasks")
    keys = [
        hashlib.blake2b(f"{seed}\x1f{task}\x1f{id}".encode(), digest_size=8).digest()
        for task, id in zip(tasks, ids, strict=True)
    ]
    if len(set(keys)) < n:
        raise CatKerasError(f"Rows have different ids within a task. Received: {n} rows, {len(set(keys))} ids")
    return np.argsort(np.array(keys, dtype="S8"), kind="stable")


def part(stages: Stages, rows: np.ndarray) -> Stages:
    """Some of the rows."""
    return Stages(stages.scores[:, rows], stages.quality[:, rows], stages.cost[:, rows])


def _needed(guarantee, tested, planned, binary, rng) -> tuple[int | None, float | None]:
    """Rows, those to plan on included, for the cheapest thresholds on the path that lose half of what is promised."""
    path = common_path(planned.scores, LEVELS)
    points = tested.points(path)
    _, quality, cost = map(np.concatenate, zip(*tested.play(path), strict=True))
    losses = {"loss": tested.quality[-1] - quality, "risk": 1 - quality, "cost": cost}[guarantee.of]
    able = np.flatnonzero(losses.mean(1) <= guarantee.alpha * HALF)
    if not len(able):
        return None, None
    wanted = able[np.argmax(points.quality[able])] if guarantee.of == "cost" else able[np.argmin(points.cost[able])]
    rows = rows_needed(guarantee, losses[wanted], binary and guarantee.of == "risk", rng)
    deferral = float(np.mean(tested.scores[0] < path[wanted][0]))
    return (None if rows is None else int(np.ceil(rows / (1 - PLANNING)))), deferral
