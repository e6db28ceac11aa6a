"""Methods that ask for help, by their own rule, against all other methods by theirs."""

from collections.abc import Iterator

from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.rule_resamples import RESAMPLES
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.tables.render import Table, with_interval
from cat_keras.cascades import deferral

# Metric → title of its column, factor.
COLUMNS = {
    "audc": ("Δ AUDC (×100)", 100),
    "s_d": ("Δ s_d", 1),
    "auroc_small_right": ("Δ AUROC: small right", 1),
    "auroc_large_right_small_wrong": ("Δ AUROC: deferring gains", 1),
}


def table(summary: Summary) -> Table | None:
    """None for a run without such a method."""
    rows = [
        (
            f"{method} by {rule}",
            f"{other} by {other_rule}",
            name,
            *(with_interval(lead[metric], scale=scale) for metric, (_, scale) in COLUMNS.items()),
        )
        for name, kind in summary.rules.items()
        for (rule, method, other_rule, other), lead in kind.leads.items()
        if other_rule in (summary.run.rule, "max-probability")
    ]
    if not rows:
        return None
    notes = (
        f"{', '.join(deferral.ASKING)}: rules that read the token which asks for help. The first minus "
        "the second, each by its own rule, on the same examples and the seeds that both have; 95 % paired bootstrap "
        f"interval, {RESAMPLES:,} resamples, uncorrected. `asking.csv` has the learned rules too, which are fitted to "
        "answers of both models to the task.",
    )
    over_all_tasks = sum(row[2] == "all tasks" for row in rows)
    columns = ("method", "against", "tasks", *(title for title, _ in COLUMNS.values()))
    return Table("A token that asks for help", columns, tuple(rows), len(rows) - over_all_tasks, notes)


def records(summary: Summary) -> Iterator[Record]:
    """The rows of `asking.csv`, one per metric."""
    for name, kind in summary.rules.items():
        for (rule, method, other_rule, other), lead in kind.leads.items():
            for metric, interval in lead.items():
                yield {
                    "scope": name,
                    "method": method,
                    "rule": rule,
                    "baseline": other,
                    "baseline_rule": other_rule,
                    "metric": metric,
                    "estimate": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                }
