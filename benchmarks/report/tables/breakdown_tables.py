"""Tables that break the averages down by suite, cluster, task, metric, kind of cost, and objective."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.report.numbers import costs, per_task
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.scopes import Curves, Scope
from benchmarks.report.numbers.summary import Measured, Row, Summary
from benchmarks.report.tables.main_tables import MARK, difference, marked
from benchmarks.report.tables.render import Table, number

# Column → name of the measure.
MASSES = {
    "both right": "mass_both",
    "small only": "mass_small_only",
    "large only": "mass_large_only",
    "neither": "mass_neither",
}
# Column → name of the measure and digits.
TRADE_OFF = {
    "relative AUDC": ("relative_audc", 3),
    "AIQ": ("aiq", 3),
    "APGR": ("apgr", 3),
    "CPT(50 %)": ("cpt_50", 2),
    "CPT(80 %)": ("cpt_80", 2),
    "QNC": ("qnc", 2),
    "peak": ("peak", 3),
    "quality at half cost": ("quality_at_half_cost", 3),
}
SCORE = {
    "AUROC, deferring gains": ("auroc_useful", 2),
    "ECE": ("ece", 3),
    "Brier": ("brier", 3),
    "AURC": ("aurc", 3),
    "AUGRC": ("augrc", 3),
    "s_o": ("s_o", 2),
}


def every_table(summary: Summary, curves: Curves, scopes: Sequence[Scope], comparisons: list[Record]) -> list[Table]:
    """The tables of this module that the run has numbers for."""
    tables = [
        scopes_table(summary, scopes),
        outcomes_table(summary, comparisons),
        mass_table(summary),
        trade_off_table(summary),
        score_table(summary),
        costs_table(summary, curves, scopes[0]),
        ablation_table(summary),
    ]
    return [table for table in tables if table]


def scopes_table(summary: Summary, scopes: Sequence[Scope]) -> Table | None:
    """AUDC of the baseline by suite and cluster, and what other methods add; None with a single average."""
    if len(scopes) < 2:
        return None
    lines = []
    for scope in scopes:
        part = summary.only(scope.tasks)
        base = part.row(part.baseline)
        label = f"{scope.label} {MARK}" if scope.lacks else scope.label
        qualities = (base.quality[0].mean, part.large_quality, base.audc.mean)
        others = [difference(row) or number(math.nan) for row in part.rows if row is not base]
        lines.append((label, str(len(scope.tasks)), *(number(100 * quality) for quality in qualities), *others))
    others = [f"Δ {marked(row)}" for row in summary.rows if row.method != summary.baseline]
    columns = ("average over", "tasks", "small", "large", marked(summary.row(summary.baseline)), *others)
    notes = (
        f"AUDC of {summary.baseline} and, with 95 % intervals, its difference to other methods. Suites and clusters "
        "of one task are not shown.",
        *(f"{MARK} {scope.label}: without {', '.join(scope.lacks)}." for scope in scopes if scope.lacks),
    )
    return Table("AUDC (×100) by suite and cluster", columns, tuple(lines), notes=notes)


def outcomes_table(summary: Summary, comparisons: list[Record]) -> Table | None:
    """Win, tie or loss of each method on each task; None without a second method."""
    run = summary.run
    methods = [name for name in run.methods if name != summary.baseline]
    if not methods:
        return None
    by_model = {(record["task"], record["method"]): record for record in comparisons}
    lines = [(name, *(_outcome(by_model.get((name, method))) for method in methods)) for name in run.tasks]
    counts = per_task.counts(comparisons)
    totals = (f"{counts[m]['win']} / {counts[m]['tie']} / {counts[m]['loss']}" if m in counts else "" for m in methods)
    notes = (
        "AUDC ×100 minus that of the baseline, 95 % bootstrap interval. Win or loss: p < 0.05 after Holm's correction "
        "for all tasks of the method; everything else is a tie.",
    )
    title = f"Against {summary.baseline}, task by task"
    return Table(title, ("task", *methods), (*lines, ("wins / ties / losses", *totals)), 1, notes)


def _outcome(record: Record | None) -> str:
    if record is None or record["status"] != "ok":
        return number(math.nan)
    estimate, low, high = (number(100 * record[name], 1, sign=True) for name in ("difference", "low", "high"))
    return f"{estimate} [{low}, {high}]" + ("" if record["outcome"] == "tie" else f" {record['outcome']}")


def mass_table(summary: Summary) -> Table | None:
    """Who is right on how many queries."""
    note = (
        "Share of the queries in %, mean over tasks. Deferring gains on those that the large model alone gets right, "
        "is futile where neither does, and loses where only the small one does. Graded quality: right is above the "
        "task's median over all small models."
    )
    columns = {name: (key, 1) for name, key in MASSES.items()}
    return _table_of_measures(summary, "Who is right", columns, (note,), scale=100)


def trade_off_table(summary: Summary) -> Table | None:
    """The same curves by the metrics of other papers."""
    (low, high), (size, unit) = summary.cost_range, costs.base(summary.run).unit(summary.large_cost)
    notes = (
        "relative AUDC: gain over deferring at random. AIQ (RouterBench): mean quality of the upper hull over "
        f"{number(low / size)} to {number(high / size)} {unit} per query. APGR, CPT(x) (RouteLLM): share of the gap "
        "between the models that is recovered; least share deferred that recovers x of it. QNC: least cost that "
        "reaches the large model's quality, of the large model's cost. Half cost: of the large model alone.",
    )
    return _table_of_measures(summary, "The trade-off by other metrics", TRADE_OFF, notes)


def score_table(summary: Summary) -> Table | None:
    """How good the score of the deferral rule is."""
    notes = (
        "Mean over tasks. AUROC, deferring gains: small model wrong and large model right against the rest. "
        "ECE, Brier: the score as a probability of being right. AURC, AUGRC: risk over coverage, lower is better. "
        "s_o: overlap of the score's densities where right and where wrong, lower is better.",
    )
    return _table_of_measures(summary, f"The score of {summary.run.rule}", SCORE, notes)


def _table_of_measures(
    summary: Summary, title: str, columns: Mapping[str, tuple[str, int]], notes: Sequence[str], scale: float = 1
) -> Table | None:
    """A table of `Row.measures`, one row per method; columns that no method has are left out.

    Args:
        columns: name → name of the measure and digits. notes: those of the table; notes on tasks without a measure are
            added. scale: factor of all numbers.
    """
    columns = {
        name: (key, digits)
        for name, (key, digits) in columns.items()
        if any(not math.isnan(_measure(row, key).mean) for row in summary.rows)
    }
    if not columns:
        return None
    undefined_notes = []
    for name, (key, _) in columns.items():
        tasks = dict.fromkeys(task for row in summary.rows for task in row.undefined.get(key, ()))
        if tasks:
            undefined_notes.append(f"{MARK} {name}: undefined, and left out, on {', '.join(tasks)}.")
    lines = [
        (marked(row), *(_measure_text(row, key, digits, scale) for key, digits in columns.values()))
        for row in summary.rows
    ]
    return Table(title, ("method", *columns), tuple(lines), notes=(*notes, *undefined_notes))


def _measure(row: Row, key: str) -> Measured:
    return row.measures.get(key, Measured(math.nan))


def _measure_text(row: Row, key: str, digits: int, scale: float) -> str:
    value = _measure(row, key)
    return number(scale * value.mean, digits, scale * value.sd) + (f" {MARK}" if key in row.undefined else "")


def costs_table(summary: Summary, curves: Curves, scope: Scope) -> Table | None:
    """Each kind of cost at the quality of the main table's cost column; None where only FLOPs are known."""
    if len(curves.kinds) < 2 or not scope.tasks:
        return None
    lines = []
    for row in summary.rows:
        by_kind = {kind: curves.curve(row.method, scope, kind) for kind in curves.kinds}
        costs_of_row = {k: curve.cost_at_quality(summary.target) if curve else math.nan for k, curve in by_kind.items()}
        lines.append((marked(row), *(_cost_text(curves, scope, kind, cost) for kind, cost in costs_of_row.items())))
    lines.append(("large alone", *(_cost_text(curves, scope, k, curves.large(scope, k)) for k in curves.kinds)))
    notes = (
        "Least cost per query, on the upper hull, and its share of the large model alone. Seconds are those of the "
        "machine that made the predictions, each answer's share of its batch."
        + (f" {curves.prices}." if "price" in curves.kinds else ""),
    )
    columns = ("method", *(kind.label for kind in curves.kinds.values()))
    return Table(f"Cost of a quality of {number(100 * summary.target)}, unit by unit", columns, tuple(lines), 1, notes)


def _cost_text(curves: Curves, scope: Scope, kind: str, value: float) -> str:
    """A cost in the unit that suits the large model's, and its share of that."""
    if math.isnan(value):
        return number(math.nan)
    whole = curves.large(scope, kind)
    size, unit = curves.kinds[kind].unit(whole)
    return f"{value / size:.4g} {unit}".strip() + costs.share_text(value, whole)


def ablation_table(summary: Summary) -> Table | None:
    """Methods that are one objective with different arguments; None where each objective is there once."""
    objectives = {name: _objective(summary, name) for name in summary.run.methods}
    counts = Counter(objective for objective, _ in objectives.values())
    rows = [row for row in summary.rows if counts[objectives[row.method][0]] > 1]
    if not rows:
        return None
    rows.sort(key=lambda row: objectives[row.method][0])
    names = sorted({name for row in rows for name in objectives[row.method][1]})
    lines = []
    for row in rows:
        objective, arguments = objectives[row.method]
        values = (json.dumps(arguments[name]).strip('"') if name in arguments else "" for name in names)
        audc = number(100 * row.audc.mean, 1, 100 * row.audc.sd)
        lines.append((marked(row), objective, *values, audc, difference(row)))
    columns = ("method", "objective", *names, "AUDC", f"Δ AUDC to {summary.baseline}")
    return Table("One objective, other arguments", columns, tuple(lines), notes=("An empty cell is the default.",))


def _objective(summary: Summary, method: str) -> tuple[str, dict]:
    """Objective and arguments of a method, as the manifest has them."""
    manifest = summary.run.manifest
    declared = (manifest.get("objectives") or {}).get(method)
    if declared:
        return declared["objective"], declared.get("arguments") or {}
    return method, ((manifest.get("settings") or {}).get("arguments") or {}).get(method) or {}
