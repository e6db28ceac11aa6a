"""Tables of deferral rules × methods, and the rows of `rules.csv`."""

import math
from collections.abc import Callable, Iterable, Sequence

from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.rule_resamples import RESAMPLES
from benchmarks.report.numbers.rules import BOUNDS, Kind, Standing
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.tables.main_tables import marked
from benchmarks.report.tables.render import Table, number, signed, with_interval
from cat_keras.evaluation.bootstrap import Interval

NOTHING = Interval(*[float("nan")] * 3)
# Metric → title of its table, factor, digits.
TITLES = {
    "audc": ("AUDC (×100) by deferral rule, with intervals", 100, 1),
    "s_d": ("s_d by deferral rule", 1, 2),
    "auroc_small_right": ("AUROC by deferral rule: small model right or wrong", 1, 2),
    "auroc_large_right_small_wrong": ("AUROC by deferral rule: deferring gains", 1, 2),
}


def rules_table(summary: Summary) -> Table:
    """AUDC by deferral rule, for all tasks and, where a run has both, for classification and generation."""

    def cell(standing: Standing) -> str:
        return number(100 * standing.audc.mean)

    counts = "; ".join(f"{name}: {len(kind.tasks)}" for name, kind in summary.rules.items())
    notes = (f"Averages over tasks ({counts}) and seeds. random is its exact expectation.", *_lacking(summary))
    return _table(summary, "AUDC (×100) by deferral rule", cell, notes)


def every_table(summary: Summary) -> list[Table]:
    """Which rule wins where; what methods gain by each; every metric; the cost of the large model's quality."""
    return [
        winners_table(summary),
        *([_gain_table(summary)] if len(summary.run.methods) > 1 else []),
        *(_metric_table(summary, metric) for metric in TITLES),
        _cost_table(summary),
    ]


def winners_table(summary: Summary) -> Table:
    """The best rule of every method and kind of task."""
    run = summary.run
    lines = [
        (marked(summary.row(method)), *(_best(kind, method, run.rule) for kind in summary.rules.values()))
        for method in run.methods
    ]
    notes = (
        f"By AUDC; AUDC (×100) minus that of {run.rule} on the same answers, 95 % paired bootstrap interval, "
        f"{RESAMPLES:,} resamples. Win: p < 0.05 after Holm's correction for all rules of the method. The best of many "
        "is chosen with the data that judge it, so that its lead is rather too large.",
    )
    columns = ("method", *(f"{name} ({len(kind.tasks)})" for name, kind in summary.rules.items()))
    return Table("Which deferral rule wins where", columns, tuple(lines), notes=notes)


def _best(kind: Kind, method: str, run_rule: str) -> str:
    """The rule with the highest AUDC, and its lead over the run's rule where that is another one."""
    standings = {rule: standing for (rule, of), standing in kind.standings.items() if of == method}
    audc = {rule: standing.audc.mean for rule, standing in standings.items() if rule not in BOUNDS}
    if not audc:
        return number(float("nan"))
    best = max(audc, key=audc.__getitem__)
    if best == run_rule:
        return best
    standing = standings[best]
    lead = with_interval(standing.compared["audc"].difference)
    return f"{best} {lead}" + (f" {standing.outcome}" if standing.outcome != "tie" else "")


def _gain_table(summary: Summary) -> Table:
    """Which rule adds to the advantage of a method over the baseline, and which takes from it."""

    def cell(standing: Standing) -> str:
        return with_interval(standing.gain or NOTHING)

    title = f"Δ AUDC (×100) to {summary.baseline} by deferral rule"
    notes = (
        f"AUDC of each method minus that of {summary.baseline}, both by this rule, on the seeds that both have; 95 % "
        f"paired bootstrap interval, {RESAMPLES:,} resamples. The oracle's row is what better answers alone can give.",
    )
    return _table(summary, title, cell, notes, without_methods=(summary.baseline,))


def _metric_table(summary: Summary, metric: str) -> Table:
    title, scale, digits = TITLES[metric]
    rule = summary.run.rule

    def cell(standing: Standing) -> str:
        compared = standing.compared[metric]
        value = number(scale * compared.own.estimate, digits)
        low, high = (signed(scale * end, digits) for end in compared.difference[1:])
        return f"{value} [{low}, {high}]" if low != high else value

    notes = (f"In brackets: 95 % paired bootstrap interval of the difference to {rule}, where there is one to see.",)
    return _table(summary, title, cell, notes, without_rules=() if metric in ("audc", "s_d") else BOUNDS)


def _cost_table(summary: Summary) -> Table:
    def cell(standing: Standing) -> str:
        return number(100 * standing.cost, 0) + ("" if math.isnan(standing.cost) else "%")

    notes = ("Least cost (upper hull) that reaches the large model's quality, in % of the large model's cost.",)
    return _table(summary, "Cost of the large model's quality by deferral rule", cell, notes)


def _table(
    summary: Summary,
    title: str,
    cell: Callable[[Standing], str],
    notes: Iterable[str],
    without_rules: Sequence[str] = (),
    without_methods: Sequence[str] = (),
) -> Table:
    """A row for each kind of task and rule, a column for each method; `cell` says what stands there."""
    run, lines = summary.run, []
    methods = [method for method in run.methods if method not in without_methods]
    for name, kind in summary.rules.items():
        suffix = "" if kind.tasks == run.covered else f", {name}"
        for rule in kind.rules:
            if rule not in without_rules:
                standings = [kind.standings.get((rule, method)) for method in methods]
                cells = [number(float("nan")) if standing is None else cell(standing) for standing in standings]
                lines.append((rule + suffix, *cells))
    columns = ("rule", *(marked(summary.row(method)) for method in methods))
    over_all_tasks = sum(rule not in without_rules for rule in summary.rules["all tasks"].rules)
    return Table(title, columns, tuple(lines), len(lines) - over_all_tasks, tuple(notes))


def _lacking(summary: Summary) -> list[str]:
    """A note on the rules that no kind of task can be deferred by, or none."""
    kinds = list(summary.rules.values())
    rules = [rule for rule in kinds[0].lacks if all(rule in kind.lacks for kind in kinds)]
    if not rules or not kinds[0].tasks:
        return []
    return [f"Not compared: {'; '.join(f'{rule} ({kinds[-1].lacks[rule]})' for rule in rules)}."]


def rule_records(summary: Summary) -> list[Record]:
    """The rows of `rules.csv`: AUDC in [0, 1] and every other metric by kind of task, rule and method.

    `_low`, `_high`: 95 % bootstrap interval. `_minus_…`: the difference to the rule named, or to the baseline method.
    """
    return [
        {"scope": name, "tasks": len(kind.tasks), "rule": rule, "method": method, "seeds": standing.seeds}
        | _values(standing, summary.run.rule)
        | interval_record(f"audc_minus_{summary.baseline}", standing.gain or NOTHING)
        for name, kind in summary.rules.items()
        for (rule, method), standing in kind.standings.items()
    ]


def _values(standing: Standing, run_rule: str) -> Record:
    record: Record = {"audc_mean": standing.audc.mean, "audc_sd": standing.audc.sd}
    for metric, compared in standing.compared.items():
        record |= interval_record(metric, compared.own)
        record |= interval_record(f"{metric}_minus_{run_rule}", compared.difference)
    record["share_of_large_at_large_quality"] = standing.cost
    return record | {"p_holm": standing.p_holm, "outcome": standing.outcome}


def interval_record(name: str, interval: Interval) -> Record:
    """The three columns of an interval in a CSV file."""
    return {f"{name}_{part}": value for part, value in zip(("mean", "low", "high"), interval, strict=True)}
