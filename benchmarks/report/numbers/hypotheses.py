"""The hypotheses of `results/PLAN.md`: each by the kept analysis that tests it, and all corrected together."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.numbers.outcome import SIGNIFICANT
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import significance
from cat_keras.evaluation.bootstrap import Interval

REPRODUCED, REFUTED, OPEN, MISSING = "reproduced", "refuted", "open", "not measured yet"
SMALL = 0.0025  # an AUDC that lies within this of 0 in all of its interval refutes that it is above
POOLED = ("estimate", "low", "high")
BY_ITS_RULES = tuple(f"quality_minus_xent_{end}" for end in ("mean", "low", "high"))
ON_ALL_AXES = "unpredictable + headroom + capacity"


@dataclass(frozen=True)
class Hypothesis:
    """What the plan expects, and where it is tested.

    Attributes:
        name, claim: of it. folder: of the kept analysis, and file: a table in it.
        rows: cells by which each row that tests it is known → the sign that is expected there, 1 or -1.
        columns: of the estimate and the ends of its interval. quality: whether they are qualities, in [0, 1].
        area: whether they are of AUDC, so that a difference can be too small.
    """

    name: str
    claim: str
    folder: str
    file: str
    rows: tuple[tuple[Mapping[str, str], int], ...]
    columns: tuple[str, str, str] = POOLED
    quality: bool = True
    area: bool = False


CAT = {"method": "cat-xent"}
HYPOTHESES = (
    Hypothesis(
        "H1", "cat-xent − xent in AUDC is above 0 where a cascade is worth having", "room", "changes.csv",
        ((CAT | {"baseline": "xent", "scope": "all", "measure": "audc"}, 1),), area=True,
    ),
    Hypothesis(
        "H2", "cat-dist − dist in AUDC grows with the share of unpredictable questions", "embedded_distil",
        "regression.csv",
        (({"method": "cat-dist", "versus": "dist", "response": "audc", "model": "unpredictable",
           "predictor": "unpredictable"}, 1),),
    ),
    Hypothesis(
        "H3", "Δ s_d of cat-xent rises with the share of unpredictable questions", "embedded_map", "regression.csv",
        ((CAT | {"versus": "xent", "response": "s_d", "model": ON_ALL_AXES, "predictor": "unpredictable"}, 1),),
        quality=False,
    ),
    Hypothesis(
        "H4", "cat-xent − xent is above 0 there with each method's best rules", "best_rules_room", "best-rules.csv",
        ((CAT, 1),), BY_ITS_RULES,
    ),
    Hypothesis(
        "H5", "what real pairs save falls with the lead, and rises with the AUROC of confidence", "real_pairs",
        "correlations.csv",
        tuple(({"over": "language models", "predictor": predictor, "outcome": "saving"}, sign)
              for predictor, sign in (("lead", -1), ("auroc", 1))),
        quality=False,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the kept results say of a hypothesis.

    Attributes:
        hypothesis: which. intervals: of each of its rows; none where it was not measured yet.
        p: of its least certain row. p_holm: corrected for all hypotheses; both NaN without rows.
        outcome: one of the four words above.
    """

    hypothesis: Hypothesis
    intervals: tuple[Interval, ...]
    p: float
    p_holm: float
    outcome: str


def verdicts(regimes: Path) -> list[Verdict]:
    """All hypotheses. One that was not measured yet counts in the correction as one that will not hold.

    Args:
        regimes: the folder of the kept analyses.

    Raises:
        CatKerasError: there is no such folder, or a table lacks the row that tests its hypothesis.
    """
    if not Path(regimes).is_dir():
        raise CatKerasError(
            f"Hypotheses are judged by a folder of kept analyses. Received: {regimes}, which is none. "
            "Give results/regimes"
        )
    found = [_rows(Path(regimes), hypothesis) for hypothesis in HYPOTHESES]
    p_values = [max((p for _, p in rows), default=float("nan")) for rows in found]
    corrected = significance.holm([1.0 if np.isnan(p) else p for p in p_values])
    verdicts = []
    for hypothesis, rows, p, p_holm in zip(HYPOTHESES, found, p_values, corrected, strict=True):
        intervals = tuple(interval for interval, _ in rows)
        outcome = _outcome(hypothesis, intervals, p_holm)
        verdicts.append(Verdict(hypothesis, intervals, p, float(p_holm) if rows else p, outcome))
    return verdicts


def _rows(regimes: Path, hypothesis: Hypothesis) -> list[tuple[Interval, float]]:
    """The interval and the p-value of each row; none where the analysis is not kept yet."""
    path = regimes / hypothesis.folder / hypothesis.file
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    return [_row(path, hypothesis, records, cells) for cells, _ in hypothesis.rows]


def _row(path: Path, hypothesis: Hypothesis, records: list, cells: Mapping[str, str]) -> tuple[Interval, float]:
    found = [record for record in records if cells.items() <= record.items()]
    columns = (*hypothesis.columns, "p")
    if len(found) != 1 or not all(found[0].get(name) for name in columns):
        wanted = ", ".join(f"{name} {value}" for name, value in cells.items())
        raise CatKerasError(
            f"{hypothesis.name} is tested by one row with {', '.join(columns)}. Received: {path}, which has "
            f"{len(found)} rows of {wanted}. Write the tables anew: python -m benchmarks verify --write {path.parent}"
        )
    *interval, p = (float(found[0][name]) for name in columns)
    return Interval(*interval), p


def _outcome(hypothesis: Hypothesis, intervals: Sequence[Interval], p_holm: float) -> str:
    if not intervals:
        return MISSING
    if hypothesis.area and all(max(abs(i.low), abs(i.high)) < SMALL for i in intervals):
        return REFUTED
    if not p_holm < SIGNIFICANT:
        return OPEN
    signs = [sign for _, sign in hypothesis.rows]
    return REPRODUCED if all(i.estimate * s > 0 for i, s in zip(intervals, signs, strict=True)) else REFUTED
