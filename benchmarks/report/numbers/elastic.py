"""A dial beside a cascade: quality of every size of an elastic small model, at the FLOPs that it takes.

Every size answers alone. It is compared with the same size trained alone, which shares its weights with no other, and
with the best cascade of a smaller size of its kind and the large model at equal FLOPs.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.planning import ladder
from benchmarks.planning.methods import ELASTIC
from benchmarks.report.numbers.cells import Cell
from benchmarks.report.numbers.summary import Summary
from cat_keras.evaluation import bootstrap
from cat_keras.evaluation.bootstrap import Interval

RESAMPLES = 1000
RATES = np.linspace(0, 1, 101)  # of deferral, at which the curve of a cascade is computed


class Standing(NamedTuple):
    """A method at a size, averaged over tasks and seeds; intervals are of 95 %, over examples within tasks and seeds.

    Attributes:
        method: its name. kind, size: what that means, see `planning.ladder`.
        flops: per query. quality: of the answers of this size alone, in [0, 1].
        sharing: quality minus that of this size trained alone; None without such a method.
        cascade: quality of the best cascade of a smaller size and the large model at as many FLOPs, in every resample
            the best there. against_cascade: quality minus that. Both are None of the smallest size, and of one beyond
            the end of all cascades.
    """

    method: str
    kind: str
    size: str
    flops: float
    quality: Interval
    sharing: Interval | None
    cascade: Interval | None
    against_cascade: Interval | None


class Dial(NamedTuple):
    """All sizes of a run.

    Attributes:
        standings: kind by kind, the smallest size first. curves: kind → (flops, quality), (101,) each, of the cascade
            of whichever size is best at these FLOPs, up to those of the large model.
        large: (flops, quality) of the large model alone.
    """

    standings: tuple[Standing, ...]
    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    large: tuple[float, float]


def dial(summary: Summary) -> Dial | None:
    """The numbers of a run; None without elastic methods, or where no seed has all of them."""
    run = summary.run
    settings = (run.manifest.get("settings") or {}).get("elastic")
    meanings = ladder.names(settings["sizes"]) if settings else {}
    meanings = {name: meanings[name] for name in run.methods if name in meanings}
    seeds = [s for s in run.seeds if all((m, s, t) in summary.cells for m in meanings for t in run.covered)]
    if not meanings or not seeds or not run.covered:
        return None
    sampled = _Sampled(summary, seeds)
    quality = {name: sampled.alone(name) for name in meanings}  # (1 + R,), the first of all examples and seeds
    flops = {name: sampled.flops(name) for name in meanings}
    standings, curves = [], {}
    for kind in ELASTIC:
        of_kind = sorted((name for name in meanings if meanings[name].kind == kind), key=flops.get)
        if not of_kind:
            continue
        cascades = {name: sampled.cascade(name) for name in of_kind}
        grid = np.linspace(flops[of_kind[0]], summary.large_cost, len(RATES))
        curves[kind] = grid, _best([(cost[:1], quality[:1]) for cost, quality in cascades.values()], grid)[0]
        for number, name in enumerate(of_kind):
            alone = f"static{'-cat' if kind.endswith('-cat') else ''}-{meanings[name].size}"
            is_shared = meanings[name].shared and alone in quality
            smaller = [cascades[other] for other in of_kind[:number]]
            cascade = _best(smaller, np.array([flops[name]]))[:, 0] if smaller else None
            cascade = None if cascade is None or np.isnan(cascade).any() else cascade
            standings.append(
                Standing(
                    name,
                    kind,
                    meanings[name].size,
                    flops[name],
                    _interval(quality[name]),
                    _interval(quality[name] - quality[alone]) if is_shared else None,
                    None if cascade is None else _interval(cascade),
                    None if cascade is None else _interval(quality[name] - cascade),
                )
            )
    return Dial(tuple(standings), curves, (summary.large_cost, summary.large_quality))


class _Sampled:
    """Averages over tasks and seeds in all resamples, which are the same for every method."""

    def __init__(self, summary: Summary, seeds: list[int]):
        self.summary, self.seeds = summary, seeds
        rng, self.weights = np.random.default_rng(0), {}
        for name in summary.run.covered:
            n = len(summary.run.large[name]["quality"])
            drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
            self.weights[name] = np.concatenate([np.ones((1, n)), drawn]) / n
        self.of_seeds = bootstrap.seed_weights(rng, len(seeds), RESAMPLES)

    def flops(self, method: str) -> float:
        return float(np.mean([cell.small["flops"].mean() for cells in self._cells(method) for cell in cells]))

    def alone(self, method: str) -> np.ndarray:
        """(1 + R,) quality of the small model's own answers."""
        return self._mean(method, lambda cell, weights: weights @ cell.small["quality"])

    def cascade(self, method: str) -> tuple[np.ndarray, np.ndarray]:
        """(1 + R, 101) FLOPs and quality of the cascade with the large model at `RATES`, by the rule of the run."""
        curves = self._mean(method, lambda cell, weights: _curve(cell, weights).swapaxes(0, 1))
        return curves[:, 0], curves[:, 1]

    def _cells(self, method: str) -> list[list[Cell]]:
        return [[self.summary.cells[method, seed, name] for name in self.weights] for seed in self.seeds]

    def _mean(self, method: str, measure) -> np.ndarray:
        by_seed = [
            np.mean([measure(cell, self.weights[cell.task]) for cell in cells], axis=0) for cells in self._cells(method)
        ]
        return np.einsum("sr...,rs->r...", np.stack(by_seed), self.of_seeds)


def _curve(cell: Cell, weights: np.ndarray) -> np.ndarray:
    """(2, resamples, 101) FLOPs and quality over the share deferred; every answer of the small model is paid for."""
    outcomes = cell.outcomes(cell.run.rule)
    order = np.argsort(outcomes.score, kind="stable")
    weights = weights[:, order]
    deferred = np.cumsum(weights, axis=1)
    gain = np.cumsum(weights * (cell.large["quality"] - cell.small["quality"])[order], axis=1)
    cost = np.cumsum(weights * cell.large["flops"][order], axis=1)
    start = [weights @ cell.small[name][order] for name in ("flops", "quality")]
    curves = [
        [base[i] + np.interp(RATES, np.append(0, deferred[i]), np.append(0, more[i])) for i in range(len(weights))]
        for base, more in zip(start, (cost, gain), strict=True)
    ]
    return np.array(curves)


def _best(cascades, flops: np.ndarray) -> np.ndarray:
    """(resamples, n) quality of the best of some cascades at (n,) FLOPs; NaN where none of them takes so many.

    Args:
        cascades: (FLOPs, quality) of each, (resamples, 101).
    """
    values = [
        [np.interp(flops, *line, left=np.nan, right=np.nan) for line in zip(*cascade, strict=True)]
        for cascade in cascades
    ]
    return np.fmax.reduce(values)


def _interval(values: np.ndarray) -> Interval:
    return Interval.of(values[0], values[1:])
