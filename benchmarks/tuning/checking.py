"""A policy file judged on a run: what it would have given there."""

from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.report.reading.load import Run
from benchmarks.tuning.shown import show_verdict
from benchmarks.tuning.stages import Asked, large_name, staged
from cat_keras.cascades.policy import Policy
from cat_keras.cascades.tuning import columns
from cat_keras.cascades.verdict import Verdict, judge


def check(path: Path, run: Run, asked: Asked) -> tuple[Policy, Verdict, str]:
    """The policy, what it gives on all rows of the run, and the unit of its cost.

    Raises:
        CatKerasError: no policy file, one of other models, or answers that its rule cannot read.
    """
    policy = Policy.read(path)
    policy.check_models([*run.methods, large_name(run)])
    found = staged(run, policy.models, asked, policy.rules)
    verdict = judge(
        columns(found.scores, found.quality, found.cost), policy.thresholds, np.asarray(found.tasks),
        names=policy.models, known_cost=found.cost is not None,
    )  # fmt: skip
    return policy, verdict, found.unit


def show(path: Path, run: Run, asked: Asked, console: Console):
    """Prints it."""
    policy, verdict, unit = check(path, run, asked)
    made = (policy.facts.get("made_from") or {}).get("run")
    console.print(f"{path}, made from {made}, on all rows of {run.folder}", markup=False, soft_wrap=True)
    show_verdict(verdict, unit, console, "all {:,} rows")
