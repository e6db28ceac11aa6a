"""The table of bias–variance alignment over the seeds of a run."""

from collections.abc import Iterator

from benchmarks.report.numbers.alignment import SEEDS, Aligned
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.tables.render import Table, number, with_interval

SCORES = ("confidence", "variance", "confidence, calibrated", "variance, calibrated")


def table(aligned: dict[str, Aligned]) -> Table | None:
    """None for a run that has no such numbers."""
    if not aligned:
        return None
    rows = [
        (
            method,
            with_interval(each.slope, scale=1),
            number(each.right.r2, 2),
            f"{each.right.count:,}",
            number(each.wrong.slope, 2),
            number(each.wrong.r2, 2),
            f"{each.wrong.count:,}",
            *(number(each.auroc[score], 2) for score in SCORES),
        )
        for method, each in aligned.items()
    ]
    columns = (
        "method", "slope, right", "r², right", "n, right", "slope, wrong", "r², wrong", "n, wrong",
        *(f"AUROC {score}" for score in SCORES),
    )  # fmt: skip
    notes = (
        "Per example of the classification tasks: log of the variance of the probabilities over the trainings, by log "
        "of their squared bias (arXiv 2310.09250, which finds slopes near 1 on rightly answered examples). Right: the "
        "mean of the trainings answers right. Examples without a positive estimate of both are left out.",
        "AUROC: a right answer of a training scores above a wrong one of its task, mean over tasks and seeds; by its "
        "own confidence, and by minus the variance over trainings. Calibrated: with a temperature for each training "
        "that was fitted to the other half of the examples.",
        f"Methods with {SEEDS} or more complete seeds. Interval: 95 %, over examples within tasks.",
    )
    return Table("Bias–variance alignment over seeds", columns, tuple(rows), notes=notes)


def records(aligned: dict[str, Aligned]) -> Iterator[Record]:
    """The rows of `alignment.csv`."""
    for method, each in aligned.items():
        yield {
            "method": method,
            "slope_right": each.slope.estimate,
            "slope_right_low": each.slope.low,
            "slope_right_high": each.slope.high,
            "r2_right": each.right.r2,
            "n_right": each.right.count,
            "slope_wrong": each.wrong.slope,
            "r2_wrong": each.wrong.r2,
            "n_wrong": each.wrong.count,
            **{f"auroc_{score.replace(', ', '_')}": each.auroc[score] for score in SCORES},
        }
