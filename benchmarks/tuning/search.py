"""Which cascade of a run's models to take: the one asked for, or the pair that does best where it is chosen."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.report.reading.load import Run
from benchmarks.tuning.stages import Asked, Staged, large_name, staged
from cat_keras.cascades.policy import Policy
from cat_keras.cascades.tuning import Tuning, tune
from cat_keras.errors import CatKerasError


@dataclass(frozen=True, eq=False)
class Found:
    """A tuned cascade. staged: its columns. tuning: what was chosen. failed: models → why there is none of them."""

    staged: Staged
    tuning: Tuning
    failed: dict[str, str]
    others: tuple[tuple[Staged, Tuning], ...]


def search(run: Run, models: Sequence[str], asked: Asked, method: str = "grid", **limits) -> Found:
    """Tunes a cascade.

    Args:
        run: a finished run. models: in order, the last is asked last; () for the best pair of a small model and the
            large one, chosen on the rows that thresholds are chosen on. method, limits: as `cat_keras.tune` takes them.

    Raises:
        CatKerasError: as `staged` and `tune`; of several pairs only if none can be tuned.
    """
    large = large_name(run)
    chains = [tuple(models)] if models else [(name, large) for name in run.methods]
    done, failed = [], {}
    for chain in chains:
        try:
            columns = staged(run, chain, asked)
            done.append((columns, _tuned(columns, method, limits)))
        except CatKerasError as error:
            if len(chains) == 1:
                raise
            failed[chain[0]] = str(error)
    if not done:
        raise CatKerasError(f"No pair of models can be tuned so. {next(iter(failed.values()))}")
    best = max(done, key=lambda pair: _merit(pair[1], limits))
    return Found(*best, failed, tuple(done))


def _tuned(columns: Staged, method: str, limits: dict) -> Tuning:
    return tune(
        columns.scores, columns.quality, columns.cost, ids=columns.ids, tasks=columns.tasks, names=columns.models,
        held_out=columns.held_out, method=method, **limits,
    )  # fmt: skip


def _merit(tuning: Tuning, limits: dict) -> tuple[float, float]:
    """What is to be large: quality within a budget, thrift for a quality or a guarantee."""
    kept = tuning.calibration
    if limits.get("max_cost") is not None or limits.get("max_deferral") is not None:
        return kept.quality, -kept.cost
    return -kept.cost, kept.quality


def policy(found: Found, run: Run) -> Policy:
    """The cascade as a file says it."""
    tuning, columns = found.tuning, found.staged
    facts = {
        "limit": tuning.calibration.limit,
        "guarantee": tuning.calibration.guarantee,
        "cost_unit": columns.unit,
        "chosen_on": {
            "rows": tuning.calibration.examples,
            "used_before": tuning.calibration.fitted + columns.fitted,
            "quality": tuning.calibration.quality,
            "cost": tuning.calibration.cost,
            "deferral": list(tuning.calibration.deferral),
        },
        "held_out": _plain(asdict(tuning.verdict)) if tuning.verdict else None,
        "made_from": {"run": run.manifest["profile"], "files": run.manifest.get("files") or {}},
    }
    return Policy(columns.models, columns.rules, tuning.thresholds, facts)


def _plain(value):
    """Lists for tuples, and nothing that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
