"""Task by task: one record per task, method and seed, with the official corpus metric beside the curve's numbers; and
each method against the baseline, won, tied or lost.
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
    run = summary.run
    return [record for name in run.tasks for record in _task(summary, name)]


def _task(summary: Summary, name: str) -> Iterator[Record]:
    run = summary.run
    facts = {"examples": len(run.examples[name]), "metric": signature(run, name)}
    large = official(run, name, run.large[name]) if name in run.large else {}
    budgets = measures.cost_range(cell.curve(run.rule) for key, cell in summary.cells.items() if key[2] == name)
    for method, seed in _models(run):
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


def _models(run: Run) -> list[tuple[str, int]]:
    return [(m, s) for m in run.methods for s in run.seeds] + [(START, s) for s in run.start_seeds]


def headline(run: Run, rows: list[Record], name: str) -> tuple[str, dict[str, Measured]]:
    """Name of a task's official number, and its value by method and for "large"."""
    own = [row for row in rows if row["task"] == name and row["status"] == "ok"]
    known = [key.removeprefix("large_") for key in (own[0] if own else {}) if key.startswith("large_")]
    keys = [key for key in known if key not in ("quality", "flops")]
    if not keys:
        return "", {}
    values = {m: over_seeds(row[f"small_{keys[0]}"] for row in own if row["method"] == m) for m in run.methods}
    return keys[0], {**values, "large": Measured(own[0][f"large_{keys[0]}"])}


def comparisons(summary: Summary) -> list[Record]:
    """Each method's AUDC minus the baseline's, task by task, over the seeds that both have.

    Returns:
        one record per task and method: `difference` with its 95 % interval `low`, `high` (AUDC in [0, 1]); `p`, and `p`
        corrected for all tasks of the method by Holm (`p_holm`: chance of any false finding) and by Benjamini and
        Hochberg (`p_bh`: share of false ones); `outcome` "win" or "loss" where `p_holm` < 0.05, otherwise "tie".
        `status` "missing" where a model is.
    """
    methods = [method for method in summary.run.methods if method != summary.baseline]
    found = {method: [_compared(summary, method, name) for name in summary.run.tasks] for method in methods}
    for records in found.values():
        compared = [record for record in records if record["status"] == "ok"]
        p_values = [record["p"] for record in compared]
        corrected = significance.holm(p_values), significance.benjamini_hochberg(p_values)
        for record, p_holm, p_bh in zip(compared, *corrected, strict=True):
            record |= {"p_holm": float(p_holm), "p_bh": float(p_bh), "outcome": outcome(record["difference"], p_holm)}
    return [record for at_task in zip(*found.values(), strict=True) for record in at_task]


def _compared(summary: Summary, method: str, name: str) -> Record:
    intervals, baseline = summary.intervals, summary.baseline
    seeds = intervals.shared(method, baseline, (name,))
    record: Record = {"task": name, "method": method, "versus": baseline, "seeds": len(seeds)}
    if not seeds:
        return {**record, "status": "missing"}
    (difference, low, high), p = intervals.versus(method, baseline, (name,))
    return {**record, "status": "ok", "difference": difference, "low": low, "high": high, "p": p}


def counts(comparisons: list[Record]) -> dict[str, dict[str, int]]:
    """Method → how many tasks it has won, tied, lost against the baseline, and how many are missing."""
    found: dict[str, Counter] = {}
    for record in comparisons:
        found.setdefault(record["method"], Counter())[record.get("outcome", "missing")] += 1
    return {method: {key: own[key] for key in ("win", "tie", "loss", "missing")} for method, own in found.items()}
