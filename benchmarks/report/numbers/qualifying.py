"""Which tasks of a run have room for a cascade: the large model ahead, and a small one that knows what it knows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.report.numbers.summary import Summary
from cat_keras.errors import CatKerasError, check_number


@dataclass(frozen=True)
class Room:
    """One task, means over seeds. lead: quality of the large model minus that of the small one, in [−1, 1]. auroc: of
    the score against the small model being right, of seeds that define it; NaN where all answers are right or wrong.
    qualifies: whether both are large enough."""

    task: str
    large: float
    small: float
    lead: float
    auroc: float
    qualifies: bool


def rooms(summary: Summary, method: str, lead: float, auroc: float) -> list[Room]:
    """Every task that the large model answered, the largest lead first.

    Args:
        method: whose small model stands beside the large one. lead, auroc: what a task needs at least.

    Raises:
        CatKerasError: no seed of the method is complete, or a bound out of its range.
    """
    check_number("lead", lead, "[-1, 1]")
    check_number("auroc", auroc, "[0, 1]")
    run, seeds = summary.run, summary.run.complete_seeds(method)
    if not seeds:
        raise CatKerasError(f"Tasks qualify by seeds that answered all of them. Received: none of {method}")
    found = [_room(summary.cells, run.large[name], method, seeds, name, lead, auroc) for name in run.covered]
    return sorted(found, key=lambda room: -room.lead)


def _room(cells: Mapping, large, method: str, seeds, name: str, lead: float, auroc: float) -> Room:
    of_seeds = [cells[method, seed, name] for seed in seeds]
    small = float(np.mean([cell.small["quality"].mean() for cell in of_seeds]))
    ahead = float(large["quality"].mean()) - small
    areas = [cell.auroc_right for cell in of_seeds if not np.isnan(cell.auroc_right)]
    area = float(np.mean(areas)) if areas else float("nan")
    return Room(name, float(large["quality"].mean()), small, ahead, area, ahead >= lead and area >= auroc)
