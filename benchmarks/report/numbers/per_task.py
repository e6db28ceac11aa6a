"""The numbers of single tasks: a record per task, method and seed, and each method's win, tie or loss on each task.

Records hold the official corpus metric beside the numbers of the curve. A win, tie or loss is against the baseline.
"""

from collections import Counter
from collections.abc import Iterator

from benchmarks.report.numbers import measures
from benchmarks.report.numbers.cells import official, signature
from benchmarks.report.numbers.outcome import outcome
from benchmarks.report.numbers.summary import Measured, Summary, over_seeds
from benchmarks.report.reading.load import START, Run
from cat_keras.evaluation import significance

Record = dict[str, object]


def records(summary: Summary) -> list[Record]:
    """The rows of `tasks.csv`; a missing cell is a row that says so. Quality in [0, 1], official numbers as named."""
    return [record for name in summary.run.tasks for record in _of_task(summary, name)]


def _of_task(summary: Summary, name: str) -> Iterator[Record]:
    run = summary.run
    facts = {"examples": len(run.examples[name]), "metric": signature(run, name)}
    large = official(run, name, run.large[name]) if name in run.large else {}
    budgets = measures.cost_range(cell.curve(run.rule) for key, cell in summary.cells.items() if key[2] == name)
    models = [(method, seed) for method in run.methods for seed in run.seeds]
    for method, seed in [*models, *((START, seed) for seed in run.start_seeds)]:
        record = {"task": name, "method": method, "seed": seed}
        cell = summary.cells.get((method, seed, name))
        if cell is None:
            status = "missing" if name in run.large else "large model missing"
            yield {**record, "status": status, **facts}
            continue
        yield {
            **record,
            "status": "ok",
            **facts,
            "small_quality": cell.small["quality"].mean(),
            "large_quality": cell.large["quality"].mean(),
            "audc": cell.curve(run.rule).audc,
            **measures.of_curve(cell.curve(run.rule), budgets, cell.large["flops"].mean()),
            "s_d": cell.s_d,
            "auroc_small_right": cell.auroc_right,
            "auroc_large_right_small_wrong": cell.auroc_useful,
            **{key: value for key, value in cell.measures.items() if key != "auroc_useful"},
            "small_flops": cell.small["flops"].mean(),
            "large_flops": cell.large["flops"].mean(),
            **{f"small_{key}": value for key, value in official(run, name, cell.small).items()},
            **{f"large_{key}": value for key, value in large.items()},
        }


def headline(run: Run, rows: list[Record], name: str) -> tuple[str, dict[str, Measured]]:
    """Name of a task's first official number, and its value by method and for "large"; "" and {} without any.

    Args:
        rows: of all tasks, see `records`. name: of the task.
    """
    rows = [row for row in rows if row["task"] == name and row["status"] == "ok"]
    keys = [key.removeprefix("large_") for key in (rows[0] if rows else {}) if key.startswith("large_")]
    official_keys = [key for key in keys if key not in ("quality", "flops")]
    if not official_keys:
        return "", {}
    key = official_keys[0]
    values = {m: over_seeds(row[f"small_{key}"] for row in rows if row["method"] == m) for m in run.methods}
    return key, {**values, "large": Measured(rows[0][f"large_{key}"])}


def comparisons(summary: Summary) -> list[Record]:
    """Each method's AUDC minus the baseline's, task by task, over the seeds that both have.

    Returns:
        one record per task and method: `difference` with its 95 % interval `low`, `high` (AUDC in [0, 1]); `p`, and `p`
        corrected for all tasks of the method by Holm (`p_holm`: chance of any false finding) and by Benjamini and
        Hochberg (`p_bh`: share of false ones); `outcome` "win" or "loss" where `p_holm` < 0.05, otherwise "tie".
        Where a model is missing, `status` is "missing" and there are no numbers.
    """
    methods = [method for method in summary.run.methods if method != summary.baseline]
    by_method = {method: [_comparison(summary, method, name) for name in summary.run.tasks] for method in methods}
    for records in by_method.values():
        complete = [record for record in records if record["status"] == "ok"]
        p_values = [record["p"] for record in complete]
        corrected = significance.holm(p_values), significance.benjamini_hochberg(p_values)
        for record, p_holm, p_bh in zip(complete, *corrected, strict=True):
            record |= {"p_holm": float(p_holm), "p_bh": float(p_bh), "outcome": outcome(record["difference"], p_holm)}
    return [record for of_task in zip(*by_method.values(), strict=True) for record in of_task]


def _comparison(summary: Summary, method: str, name: str) -> Record:
    intervals, baseline = summary.intervals, summary.baseline
    seeds = intervals.shared(method, baseline, (name,))
    record: Record = {"task": name, "method": method, "versus": baseline, "seeds": len(seeds)}
    if not seeds:
        return {**record, "status": "missing"}
    (difference, low, high), p = intervals.versus(method, baseline, (name,))
    return {**record, "status": "ok", "difference": difference, "low": low, "high": high, "p": p}


def counts(comparisons: list[Record]) -> dict[str, dict[str, int]]:
    """Method → how many tasks it has won, tied, lost against the baseline, and how many are missing."""
    by_method: dict[str, Counter] = {}
    for record in comparisons:
        by_method.setdefault(record["method"], Counter())[record.get("outcome", "missing")] += 1
    outcomes = ("win", "tie", "loss", "missing")
    return {method: {key: counter[key] for key in outcomes} for method, counter in by_method.items()}
