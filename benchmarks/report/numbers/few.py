"""Tasks whose examples are too few or too alike for an interval by resampling."""

from collections.abc import Iterator

import numpy as np

from benchmarks.report.reading.load import Run

FEW = 30  # examples; resampling fewer gives intervals that are clearly too narrow


def sentences(run: Run) -> Iterator[str]:
    """What to know of intervals on tasks with few examples, and on tasks where every answer is worth the same.

    A bootstrap only draws from what was seen: where all answers of all models are wrong, every resample says 0, and an
    interval of no width says nothing of what the next answers may be. The bound that holds there is that of Clopper and
    Pearson.
    """
    counts = {name: len(run.examples[name]) for name in run.covered}
    few = [f"{name} ({count})" for name, count in counts.items() if count < FEW]
    if few:
        names = ", ".join(few[:12]) + (", …" if len(few) > 12 else "")
        yield f"Fewer than {FEW} examples: {names}. Intervals by resampling so few are too narrow."
    for name, count in counts.items():
        qualities = [cell["quality"] for (_, _, of), cell in run.small.items() if of == name]
        values = np.unique(np.concatenate([*qualities, run.large[name]["quality"]]))
        if len(values) == 1 and values[0] in (0, 1):
            # Of "right" if all are wrong, or of "wrong" if all are right: the 97.5 % quantile of Beta(1, count).
            bound = 1 - 0.025 ** (1 / count)
            seen, other = ("right", "wrong") if values[0] else ("wrong", "right")
            yield (
                f"{name}: all {count} answers of every model are {seen}. Intervals have no width there, yet up to "
                f"{bound:.0%} of further answers may be {other} (95 %, Clopper-Pearson)."
            )
