"""Thresholds of a cascade from calibration data: every candidate is simulated, and the best one allowed is chosen.

These are functions of the answers of all models to the same examples; `Cascade.calibrate` describes what is chosen.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from cat_keras.cascades import deferral, rational
from cat_keras.cascades.deferral import learned
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.cascades.playback import Points, Stages, common_path, grid
from cat_keras.data import overlap
from cat_keras.data.records import Example, Prediction
from cat_keras.errors import SHARE, CatKerasError, check_number, unknown_name
from cat_keras.evaluation import vectors
from cat_keras.evaluation.vectors import ROUNDING

FITTING = 0.5  # share of the examples that a learned rule is fitted on
PLANNING = 0.2  # share of the other examples, which only decide the thresholds that a guarantee tests, and their order
LEVELS = 200  # steps between those thresholds; the planning examples could not tell finer ones apart
METHODS = ("grid", "rational")  # of choosing thresholds


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `Cascade.calibrate` chose, and what that gave on the calibration examples.

    Attributes:
        thresholds: one per stage but the last.
        cost: mean per query, of all stages reached. quality: mean of the answers given. None where they are unknown.
        deferral: per stage but the last, the share that it passed on of the queries it saw.
        alone_cost, alone_quality: of each model by itself, None likewise.
        examples: number of examples that these numbers are means over. fitted: number of further examples, on which the
            rule was fitted or a guarantee planned.
        limit: what was asked for, e.g. {"max_cost": 1e6}. guarantee: the fields of the `Guarantee` they keep, or {}.
        repeated: of all these examples, those whose content another one has too, under another id. They count as
            independent, so a guarantee holds only if queries repeat as often later on.
        rejected: share of the traffic that is rejected, see `Cascade.calibrate`; None where nothing is.
    """

    thresholds: tuple[float, ...]
    cost: float | None
    quality: float | None
    deferral: tuple[float, ...]
    alone_cost: tuple[float | None, ...]
    alone_quality: tuple[float, ...] | None
    examples: int
    fitted: int
    limit: dict
    guarantee: dict
    repeated: int = 0
    rejected: float | None = None


def exact_match(text: str, example: Example) -> float:
    """1 if the answer is one of the references, up to white space around it, else 0."""
    return float(text.strip() in {reference.strip() for reference in example.references})


def flops(prediction: Prediction, stage: int) -> float:
    """The default cost of an answer: its forward FLOPs; NaN where they are not known."""
    return prediction.flops


def check_price(limit: Mapping[str, float], guarantee: Guarantee | None, unpriced: Sequence[str]):
    """Raises CatKerasError where a limit or a guarantee is on the cost and models have no price.

    Args:
        limit, guarantee: what is asked for. unpriced: the models whose FLOPs are not known.
    """
    if unpriced and ("max_cost" in limit or (guarantee and guarantee.of == "cost")):
        raise CatKerasError(
            f"{'max_cost' if 'max_cost' in limit else 'A guarantee of cost'} needs the price of every model. Received: "
            f"{', '.join(unpriced)}, whose FLOPs are not known. Give cost=, or ask for max_deferral= or min_quality="
        )


def digest(example: Example) -> str:
    """A name of an example that does not contain its text: 16 hex digits."""
    return hashlib.sha256(f"{example.task}\x1f{example.id}".encode()).hexdigest()[:16]


def names(example: Example) -> tuple[str, str]:
    """What a cascade remembers of an example: its `digest`, and one of its content, which is the same under another id.

    Cascades that were saved by earlier versions remember digests of ids alone.
    """
    return digest(example), hashlib.sha256(f"content\x1f{overlap.content(example)}".encode()).hexdigest()[:16]


def shuffled(examples: Sequence[Example]) -> list[Example]:
    """The examples ordered by a hash of their ids, which depends neither on their content nor on the order given.

    Examples of equal content follow one another, so that no part of the list has to share them with another.

    Raises:
        CatKerasError: no example, or two with one id.
    """
    if not examples:
        raise CatKerasError("Calibration needs at least one example. Received: none")
    by_digest = {digest(e): e for e in examples}
    if len(by_digest) < len(examples):
        raise CatKerasError(
            f"Calibration examples have different ids within a task. Received: {len(examples)} examples, "
            f"{len(by_digest)} ids"
        )
    first: dict[str, str] = {}
    for key in sorted(by_digest):
        first.setdefault(overlap.content(by_digest[key]), key)
    return [by_digest[key] for key in sorted(by_digest, key=lambda key: (first[overlap.content(by_digest[key])], key))]


def check_limit(guarantee: Guarantee | None, **limits: float | None) -> dict[str, float]:
    """The limit that was given, as {name: value}; empty when there is only a guarantee.

    Args:
        limits: every limit by name, None where it was not given.

    Raises:
        CatKerasError: no limit and no guarantee, more than one limit, or one out of range.
    """
    limit = {name: value for name, value in limits.items() if value is not None}
    if len(limit) > 1 or not (limit or guarantee):
        raise CatKerasError(
            f"calibrate takes exactly one of {', '.join(limits)}, or guarantee= with at most one of them. "
            f"Received: {', '.join(limit) or 'none'}"
        )
    intervals = {"max_cost": "[0, inf)"}
    return {name: float(check_number(name, value, intervals.get(name, SHARE))) for name, value in limit.items()}


def calibrate(
    rule: deferral.Rule,
    examples: Sequence[Example],
    predictions: Sequence[Sequence[Prediction]],
    limit: dict[str, float],
    guarantee: Guarantee | None = None,
    quality: Callable[[str, Example], float] | None = None,
    cost: Callable[[Prediction, int], float] = flops,
) -> tuple[list[deferral.Rule], Calibration]:
    """Fits the rule if it learns, and chooses the thresholds.

    Args:
        rule: of all stages; one that learns is fitted anew for each.
        examples: in the order of `shuffled`; the first are for fitting, the last for testing.
        predictions: per model, one per example.
        limit: from `check_limit`. guarantee, quality, cost: see `Cascade.calibrate`.

    Returns:
        the rule of every stage but the last, and the choice.
    """
    fitting, planning, testing = _parts(examples, rule.needs_fit, guarantee is not None)
    qualities = _qualities(examples, predictions, quality)
    if np.isnan(qualities).any() and (
        rule.needs_fit or "min_quality" in limit or (guarantee and guarantee.of != "cost")
    ):
        raise CatKerasError(
            "A quality, a learned rule and a guarantee of loss or risk need references. Received: examples without. "
            "Give target or references, or quality="
        )
    costs = np.array([[cost(p, i) for p in row] for i, row in enumerate(predictions)], np.float64)
    unpriced = np.flatnonzero(np.isnan(costs).any(1)) if cost is flops else ()
    if len(unpriced):
        check_price(limit, guarantee, [f"model {i}" for i in unpriced])
        alone_cost = tuple(None if np.isnan(mean) else mean for mean in costs[:, testing].mean(1).tolist())
        costs = np.ones_like(costs)  # without a price, cheap is what asks few models
    costs = vectors.summable("cost", costs.ravel()).reshape(qualities.shape)
    rules = [rule] * (len(predictions) - 1)
    if rule.needs_fit:
        rules = [rule.fit(_fit_columns(rule, examples, predictions, qualities, i, fitting)) for i in range(len(rules))]

    def outcomes(part):
        scores = [rule.compared(row[part]) for rule, row in zip(rules, predictions, strict=False)]
        return Stages(np.array(scores), qualities[:, part], costs[:, part])

    planned = outcomes(planning) if guarantee else None
    choice = on_stages(outcomes(testing), limit, guarantee, planned, quality is None, fitted=testing.start)
    choice = replace(choice, repeated=len(examples) - len({overlap.content(e) for e in examples}))
    return rules, replace(choice, cost=None, alone_cost=alone_cost) if len(unpriced) else choice


def given_quality(
    rules: Sequence[deferral.Rule],
    choice: Calibration,
    examples: Sequence[Example],
    predictions: Sequence[Sequence[Prediction]],
    quality: Callable[[str, Example], float] | None,
) -> tuple[Sequence[Prediction], np.ndarray]:
    """The first model's answers to the examples that thresholds were chosen on, and the quality of the whole cascade's.

    Arguments: what `calibrate` was given and what it returned.

    Returns:
        k predictions, and (k,) in [0, 1], NaN where the quality is unknown.
    """
    tested = slice(len(examples) - choice.examples, None)
    qualities = _qualities(examples[tested], [row[tested] for row in predictions], quality)
    scores = np.array([rule.compared(row[tested]) for rule, row in zip(rules, predictions, strict=False)])
    _, given, _ = next(Stages(scores, qualities, np.ones_like(qualities)).play(np.array([choice.thresholds])))
    return predictions[0][tested], given[0]


def on_stages(
    tested: Stages,
    limit: dict[str, float],
    guarantee: Guarantee | None = None,
    planned: Stages | None = None,
    binary: bool = False,
    fitted: int = 0,
    method: str = "grid",
) -> Calibration:
    """What `Cascade.calibrate` and `tuning.tune` choose, from the outcomes of all stages.

    Args:
        tested: outcomes that thresholds are chosen on. limit: from `check_limit`. guarantee, planned: with outcomes
            of other examples, which say which thresholds it tests. binary: whether qualities are 0 and 1 by nature.
        fitted: how many examples were used before. method: "grid" tries every combination of thresholds, "rational"
            those that are best under a model of the confidences, see `rational`.

    Raises:
        CatKerasError: a limit or guarantee that no threshold keeps, an unknown method, or "rational" with a guarantee,
            a limit on the deferral or without qualities.
    """
    if method not in METHODS:
        raise unknown_name("method of choosing thresholds", method, METHODS)
    if method == "rational":
        refused = {
            "a guarantee": guarantee,
            "unknown qualities": np.isnan(tested.quality).any(),
            "a limit on the deferral": "max_deferral" in limit,  # which says nothing of the cost that it trades
        }
        if received := [name for name, given in refused.items() if given]:
            raise CatKerasError(
                "Rational tuning learns from qualities and has no guarantee; it trades quality against cost. Received: "
                f"{received[0]}. Choose by the grid"
            )
        candidates, modelled = rational.path(tested)
        points = tested.points(candidates)
        # Few rows say little of the quality at each of these thresholds; only a limit on it is judged by them.
        judged = points if "min_quality" in limit else replace(points, quality=modelled)
        return _record(tested, points, _choose(judged, limit, None), fitted=fitted, limit=limit, guarantee=None)
    if guarantee:
        candidates = _certified(guarantee, tested, common_path(planned.scores, LEVELS), binary=binary)
    elif np.isnan(tested.quality).any():
        candidates = common_path(tested.scores, min(tested.scores.shape[1], 1000))
    else:
        candidates = grid(tested.scores)
    points = tested.points(candidates)
    chosen = _choose(points, limit, guarantee)
    return _record(tested, points, chosen, fitted=fitted, limit=limit, guarantee=guarantee)


def _parts(examples: Sequence[Example], learns: bool, promises: bool) -> tuple[slice, slice, slice]:
    """The examples to fit a rule on, to plan a guarantee on, and to choose and test thresholds on.

    Neighbours of equal content are in one part.
    """
    n = len(examples)

    def end(position: int) -> int:
        while 0 < position < n and overlap.content(examples[position - 1]) == overlap.content(examples[position]):
            position += 1
        return position

    first = end(int(n * FITTING)) if learns else 0
    second = end(first + int((n - first) * PLANNING)) if promises else first
    if (learns and first < 2) or (promises and second == first) or second == n:
        raise CatKerasError(
            "A learned rule is fitted on half of the calibration examples and a guarantee planned on a fifth of the "
            f"others. Received: {n} examples, too few (or too few different ones) for that"
        )
    return slice(0, first), slice(first, second), slice(second, n)


def _qualities(examples, predictions, quality) -> np.ndarray:
    """(stages, n) in [0, 1]; all NaN when neither `quality` nor any reference is given."""
    unknown = [e for e in examples if not any(e.references)]
    if quality is None and len(unknown) == len(examples):
        return np.full((len(predictions), len(examples)), np.nan)
    if quality is None and unknown:
        raise CatKerasError(
            f"All calibration examples have references, or none. Received: {len(unknown)} of {len(examples)} without, "
            f"e.g. {unknown[0].task}/{unknown[0].id}"
        )
    quality = quality or exact_match
    values = [quality(p.text, e) for row in predictions for p, e in zip(row, examples, strict=True)]
    return vectors.within_unit("quality", values).reshape(len(predictions), len(examples))


def _fit_columns(rule, examples, predictions, qualities, stage, part):
    """The columns that a learned rule of one stage is fitted to: its answers, and the targets of both stages."""
    small, large = (deferral.columns(predictions[i][part]) for i in (stage, stage + 1))
    targets = {"quality_small": qualities[stage, part], "quality_large": qualities[stage + 1, part]}
    if "probability_small" in rule.fit_needs:
        references = [e.answer for e in examples[part]]
        targets = {
            "probability_small": learned.reference_probability(small, references),
            "probability_large": learned.reference_probability(large, references),
        }
    return deferral.columns(small, **targets)


def _certified(guarantee, tested, path, binary) -> np.ndarray:
    """The thresholds of a path that the guarantee holds for, the safest first."""
    # The safest are tested first: those that never defer keep the cost, those that always defer the quality.
    order = path if guarantee.of == "cost" else path[::-1]
    _, quality, cost = map(np.concatenate, zip(*tested.play(order), strict=True))
    losses = {"loss": tested.quality[-1] - quality, "risk": 1 - quality, "cost": cost}[guarantee.of]
    binary = binary and guarantee.of == "risk"
    count = guarantee.certified(losses, binary)
    if not count:
        raise CatKerasError(
            f"No threshold keeps the mean {guarantee.of} within {guarantee.alpha:g} with probability "
            f"{1 - guarantee.delta:g} for all that {losses.shape[1]} examples show: even "
            f"{'never' if guarantee.of == 'cost' else 'always'} deferring promises no less than "
            f"{guarantee.least(losses, binary):g}. Take more examples, a larger alpha or a larger delta"
        )
    return order[:count]


def _choose(points: Points, limit: dict[str, float], guarantee) -> int:
    """Index of the best of the points within the limit; see `Cascade.calibrate`."""
    # Where the quality is unknown, the more is spent on the larger models within the limit the better.
    worth = points.cost if np.isnan(points.quality).any() else points.quality
    measured = {"max_cost": points.cost, "min_quality": -points.quality, "max_deferral": points.deferral.max(1)}
    allowed = np.ones(len(worth), bool)
    for name, value in limit.items():
        sign = -1 if name == "min_quality" else 1
        allowed = measured[name] <= sign * value + ROUNDING * abs(value)
        if not allowed.any():
            raise CatKerasError(
                f"No threshold reaches {name}={value:g} on the calibration examples"
                f"{' and keeps the guarantee' if guarantee else ''}. The best is {sign * measured[name].min():g}"
            )
    cheapest = "min_quality" in limit or not (limit or guarantee.of == "cost")
    order = np.lexsort((-worth, points.cost) if cheapest else (points.cost, -worth))
    return int(order[allowed[order]][0])


def _record(tested, points, chosen, fitted, limit, guarantee) -> Calibration:
    has_quality = not np.isnan(tested.quality).any()
    return Calibration(
        thresholds=tuple(points.thresholds[chosen].tolist()),
        cost=float(points.cost[chosen]),
        quality=float(points.quality[chosen]) if has_quality else None,
        deferral=tuple(points.deferral[chosen].tolist()),
        alone_cost=tuple(tested.cost.mean(1).tolist()),
        alone_quality=tuple(tested.quality.mean(1).tolist()) if has_quality else None,
        examples=tested.scores.shape[1],
        fitted=fitted,
        limit=limit,
        guarantee=asdict(guarantee) if guarantee else {},
    )
