"""Task by task: one record per task, method and seed, with the official corpus metric beside the curve's numbers."""

from collections.abc import Iterator

from benchmarks.report.cells import official, signature
from benchmarks.report.load import START, Run
from benchmarks.report.summary import Measured, Summary, over_seeds

Record = dict[str, object]


def records(summary: Summary) -> list[Record]:
    """The rows of `tasks.csv`; a missing cell is a row that says so. Quality in [0, 1], official numbers as named."""
    run = summary.run
    return [record for name in run.tasks for record in _task(summary, name)]


def _task(summary: Summary, name: str) -> Iterator[Record]:
    run = summary.run
    facts = {"examples": len(run.examples[name]), "metric": signature(run, name)}
    large = official(run, name, run.large[name]["text"]) if name in run.large else {}
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
            "s_d": cell.s_d,
            "auroc_small_right": cell.auroc_right,
            "auroc_large_right_small_wrong": cell.auroc_useful,
            "small_flops": cell.small["flops"].mean(),
            "large_flops": cell.large["flops"].mean(),
            **{f"small_{key}": value for key, value in official(run, name, cell.small["text"]).items()},
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
