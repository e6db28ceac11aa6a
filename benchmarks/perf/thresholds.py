"""Rational tuning against the grid, by number of labels and of models: `python -m benchmarks perf thresholds FILE`.

Real answers of language models, a table with the columns id, model, correct and msp (the largest softmax probability):
those of https://github.com/bplaut/llm-calibration-and-correctness-prediction to ARC, first prompt. The table itself is
not part of this project.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.importing.public import SIZES
from benchmarks.perf import paired
from cat_keras.cascades import rational
from cat_keras.cascades.playback import Points, Stages, grid
from cat_keras.cascades.routing import area
from cat_keras.errors import CatKerasError

LABELS = (30, 100, 300, 1000)
LENGTHS = (2, 3, 4, 5)
BUDGETS = 21
RESAMPLES = 10_000


def measure(path: Path, chains: int = 5, splits: int = 12, labels=LABELS, lengths=LENGTHS):
    """Writes the table `thresholds`.

    Args:
        path: CSV file. chains: of each length, drawn among those in which each model is dearer and better than the one
            before. splits: random ones into labelled rows and rows to judge on. labels, lengths: which to try.
    """
    quality, scores = read(path)
    rng, rows = np.random.default_rng(0), []
    orders = [rng.permutation(len(quality)) for _ in range(splits)]
    for length in lengths:
        every = rising(quality, length)
        drawn = [every[i] for i in rng.choice(len(every), min(chains, len(every)), replace=False)]
        for n in labels:
            errors = np.array([[_errors(quality, scores, chain, order, n) for chain in drawn] for order in orders])
            rows.append({"models": length, "chains": len(drawn), "labels": n} | summary(errors.mean(axis=1), rng))
    note = (
        f"{len(quality):,} questions, {splits} random splits; error in %, mean over all budgets between the cost of "
        "the first and of the last model, on the questions without labels. Cost: parameters per token. For every "
        "budget the thresholds are the best within it on the labelled questions: of a grid, or of those that rational "
        f"tuning gives at {len(rational.PRICES)} prices of cost and between. Change in % of the grid's error; low, "
        "high: 95 % bootstrap interval over splits, which share questions."
    )
    paired.keep("thresholds", pd.DataFrame(rows), note)


def read(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Question × model: whether the answer is right, and its probability.

    Raises:
        CatKerasError: the table lacks a column, or questions that all of its models answered.
    """
    table = pd.read_csv(path)
    columns = ["id", "model", "correct", "msp"]
    if absent := [name for name in columns if name not in table]:
        raise CatKerasError(f"The table has the columns {', '.join(columns)}. Received: {path} without {absent[0]}")
    table = table[table["model"].isin(SIZES)].drop_duplicates(["id", "model"])
    quality, scores = (table.pivot(index="id", columns="model", values=name).dropna() for name in ("correct", "msp"))
    if quality.shape[1] < 2 or not len(quality):
        raise CatKerasError(f"Questions are answered by two known models or more. Received: {path}")
    return quality.astype(float), scores


def rising(quality: pd.DataFrame, length: int) -> list[tuple[str, ...]]:
    """Chains of models in which each is dearer and better than the one before."""
    accuracy = quality.mean()
    models = sorted(quality, key=lambda name: (SIZES[name], accuracy[name]))
    return [
        chain
        for chain in itertools.combinations(models, length)
        if all(SIZES[a] < SIZES[b] and accuracy[a] < accuracy[b] for a, b in itertools.pairwise(chain))
    ]


def _errors(quality, scores, chain, order, n: int) -> tuple[float, float]:
    """Mean error over budgets, by the grid and by rational tuning."""
    cost = np.array([SIZES[name] for name in chain], float)

    def stages(rows):
        columns = scores[list(chain[:-1])].to_numpy().T[:, rows], quality[list(chain)].to_numpy().T[:, rows]
        return Stages(*columns, np.tile(cost[:, None], len(rows)))

    labelled, judged = stages(order[:n]), stages(order[n:])
    tried = labelled.points(grid(labelled.scores))
    thresholds, modelled = rational.path(labelled)
    found = tried.quality, tried, modelled, labelled.points(thresholds)
    budgets = np.linspace(cost[0], cost[-1], BUDGETS)
    return tuple(
        1 - _mean_quality(judged.points(within(points, worth, budgets)), cost)
        for worth, points in (found[:2], found[2:])
    )


def within(points: Points, worth: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """For each budget the thresholds of most worth, and of equal ones the cheapest."""
    order = np.lexsort((points.cost, -worth))
    return np.array([points.thresholds[order[points.cost[order] <= budget + 1e-9][0]] for budget in budgets])


def _mean_quality(points: Points, cost: np.ndarray) -> float:
    order = np.argsort(points.cost, kind="stable")
    return float(area(points.quality[None, order], points.cost[None, order], cost[:1], cost[-1:])[0])


def summary(errors: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Mean errors (splits, (grid, rational)) in %, and the change with its interval."""
    draws = rng.integers(len(errors), size=(RESAMPLES, len(errors)))
    means = errors[draws].mean(axis=1)
    changes = 100 * (means[:, 1] / means[:, 0] - 1)
    low, high = np.quantile(changes, [0.025, 0.975])
    by_grid, by_model = 100 * errors.mean(axis=0)
    return {
        "error, grid": by_grid,
        "error, rational": by_model,
        "change %": 100 * (by_model / by_grid - 1),
        "low": low,
        "high": high,
    }
