"""Tables that break the averages down: by suite and cluster, task by task, by metric, by kind of cost, by argument."""

import json
import math
from collections.abc import Mapping, Sequence

from benchmarks.report.numbers import costs, per_task
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.scopes import Curves, Scope
from benchmarks.report.numbers.summary import Measured, Row, Summary
from benchmarks.report.tables.main_tables import MARK, difference, marked
from benchmarks.report.tables.render import Table, number

MASSES = {
    "both right": "mass_both",
    "small only": "mass_small_only",
    "large only": "mass_large_only",
    "neither": "mass_neither",
}
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
    """Those of them that have something to say."""
    found = [
        scopes_table(summary, scopes),
        outcomes_table(summary, comparisons),
        mass_table(summary),
        trade_off_table(summary),
        score_table(summary),
        costs_table(summary, curves, scopes[0]),
        ablation_table(summary),
    ]
    return [table for table in found if table]


def scopes_table(summary: Summary, scopes: Sequence[Scope]) -> Table | None:
    """AUDC of the baseline by suite and cluster, and what other methods add; None with a single average."""
    if len(scopes) < 2:
        return None
    lines = []
    for scope in scopes:
        own, lacks = summary.only(scope.tasks), f" {MARK}" if scope.lacks else ""
        base = own.row(own.baseline)
        alone = number(100 * base.quality[0].mean), number(100 * own.large_quality), number(100 * base.audc.mean)
        others = [difference(row) or number(math.nan) for row in own.rows if row is not base]
        lines.append((scope.label + lacks, str(len(scope.tasks)), *alone, *others))
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
    found = {(record["task"], record["method"]): record for record in comparisons}
    lines = [(name, *(_outcome(found.get((name, method))) for method in methods)) for name in run.tasks]
    totals = per_task.counts(comparisons)
    line = (f"{totals[m]['win']} / {totals[m]['tie']} / {totals[m]['loss']}" if m in totals else "" for m in methods)
    notes = (
        "AUDC ×100 minus that of the baseline, 95 % bootstrap interval. Win or loss: p < 0.05 after Holm's correction "
        "for all tasks of the method; everything else is a tie.",
    )
    title = f"Against {summary.baseline}, task by task"
    return Table(title, ("task", *methods), (*lines, ("wins / ties / losses", *line)), 1, notes)


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
    return _measures(summary, "Who is right", {name: (key, 1) for name, key in MASSES.items()}, (note,), 100)


def trade_off_table(summary: Summary) -> Table | None:
    """The same curves by the metrics of other papers."""
    (low, high), (size, unit) = summary.cost_range, costs.base(summary.run).unit(summary.large_cost)
    notes = (
        "relative AUDC: gain over deferring at random. AIQ (RouterBench): mean quality of the upper hull over "
        f"{number(low / size)} to {number(high / size)} {unit} per query. APGR, CPT(x) (RouteLLM): share of the gap "
        "between the models that is recovered; least share deferred that recovers x of it. QNC: least cost that "
        "reaches the large model's quality, of the large model's cost. Half cost: of the large model alone.",
    )
    return _measures(summary, "The trade-off by other metrics", TRADE_OFF, notes)


def score_table(summary: Summary) -> Table | None:
    """How good the score of the deferral rule is."""
    notes = (
        "Mean over tasks. AUROC, deferring gains: small model wrong and large model right against the rest. "
        "ECE, Brier: the score as a probability of being right. AURC, AUGRC: risk over coverage, lower is better. "
        "s_o: overlap of the score's densities where right and where wrong, lower is better.",
    )
    return _measures(summary, f"The score of {summary.run.rule}", SCORE, notes)


def _measures(summary: Summary, title: str, wanted: Mapping[str, tuple[str, int]], notes, scale: float = 1):
    """A table of `Row.measures`, one row per method; columns that no method has are left out."""
    known = {
        name: (key, digits)
        for name, (key, digits) in wanted.items()
        if any(not math.isnan(_measure(row, key).mean) for row in summary.rows)
    }
    if not known:
        return None
    lines = tuple((marked(row), *(_shown(row, *each, scale) for each in known.values())) for row in summary.rows)
    return Table(title, ("method", *known), lines, notes=(*notes, *_undefined(summary, known)))


def _undefined(summary: Summary, known: Mapping[str, tuple[str, int]]) -> list[str]:
    """Which tasks marked averages leave out."""
    notes = []
    for name, (key, _) in known.items():
        tasks = dict.fromkeys(task for row in summary.rows for task in row.undefined.get(key, ()))
        notes += [f"{MARK} {name}: undefined, and left out, on {', '.join(tasks)}."] if tasks else []
    return notes


def _measure(row: Row, key: str) -> Measured:
    return row.measures.get(key, Measured(math.nan))


def _shown(row: Row, key: str, digits: int, scale: float) -> str:
    value = _measure(row, key)
    return number(scale * value.mean, digits, scale * value.sd) + (f" {MARK}" if key in row.undefined else "")


def costs_table(summary: Summary, curves: Curves, scope: Scope) -> Table | None:
    """Each kind of cost at the quality of the main table's cost column; None where only FLOPs are known."""
    if len(curves.kinds) < 2 or not scope.tasks:
        return None
    lines = []
    for row in summary.rows:
        found = [curves.curve(row.method, scope, kind) for kind in curves.kinds]
        values = [curve.cost_at_quality(summary.target) if curve else math.nan for curve in found]
        lines.append((marked(row), *(_cost(curves, scope, k, v) for k, v in zip(curves.kinds, values, strict=True))))
    lines.append(("large alone", *(_cost(curves, scope, k, curves.large(scope, k)) for k in curves.kinds)))
    notes = (
        "Least cost per query, on the upper hull, and its share of the large model alone. Seconds are those of the "
        "machine that made the predictions, each answer's share of its batch."
        + (f" {curves.prices}." if "price" in curves.kinds else ""),
    )
    columns = ("method", *(kind.label for kind in curves.kinds.values()))
    return Table(f"Cost of a quality of {number(100 * summary.target)}, unit by unit", columns, tuple(lines), 1, notes)


def _cost(curves: Curves, scope: Scope, kind: str, value: float) -> str:
    if math.isnan(value):
        return number(math.nan)
    whole = curves.large(scope, kind)
    size, unit = curves.kinds[kind].unit(whole)
    return f"{value / size:.4g} {unit} ({value / whole:.0%})".replace("  ", " ")


def ablation_table(summary: Summary) -> Table | None:
    """Methods that are one objective with different arguments; None where each objective is there once."""
    objectives = {name: _objective(summary, name) for name in summary.run.methods}
    names = [objective for objective, _ in objectives.values()]
    shown = [row for row in summary.rows if names.count(objectives[row.method][0]) > 1]
    if not shown:
        return None
    shown.sort(key=lambda row: objectives[row.method][0])
    arguments = sorted({key for row in shown for key in objectives[row.method][1]})
    lines = []
    for row in shown:
        objective, given = objectives[row.method]
        values = (json.dumps(given[key]).strip('"') if key in given else "" for key in arguments)
        audc = number(100 * row.audc.mean, 1, 100 * row.audc.sd)
        lines.append((marked(row), objective, *values, audc, difference(row)))
    columns = ("method", "objective", *arguments, "AUDC", f"Δ AUDC to {summary.baseline}")
    return Table("One objective, other arguments", columns, tuple(lines), notes=("An empty cell is the default.",))


def _objective(summary: Summary, method: str) -> tuple[str, dict]:
    """Objective and arguments of a method, as the manifest has them."""
    manifest = summary.run.manifest
    known = (manifest.get("objectives") or {}).get(method)
    if known:
        return known["objective"], known.get("arguments") or {}
    return method, ((manifest.get("settings") or {}).get("arguments") or {}).get(method) or {}
