"""Tables of what methods change: against the baseline, against other methods, and against the paper's headline."""

import math

from benchmarks.report.numbers.changes import CAT, OBJECTIVES, POINTS, SAVING, Change, Changes
from benchmarks.report.numbers.grids import split
from benchmarks.report.numbers.intervals import RESAMPLES
from benchmarks.report.numbers.resampled_curves import RESAMPLES as CURVES
from benchmarks.report.tables.main_tables import difference, marked
from benchmarks.report.tables.render import Table, number, with_interval

PERCENT = (100, 2)  # factor and digits
BEYOND = "> 1"  # an s_d that not even the oracle has


def every_table(changes: Changes) -> list[Table]:
    """The tables of this module that the run has numbers for."""
    tables = [same_point_table(changes), changes_table(changes), others_table(changes)]
    if not changes.summary.run.imported:  # whose models the paper says nothing of
        tables.append(headline_table(changes))
    return [table for table in tables if table]


def same_point_table(changes: Changes) -> Table | None:
    """AUDC of every method at every point of a grid against the baseline's method there; None without a grid."""
    by_point = changes.versus_same_point
    if not by_point:
        return None
    methods, points = (tuple(dict.fromkeys(names)) for names in zip(*by_point, strict=True))
    lines = [(point, *(_change_text(by_point.get((method, point))) for method in methods)) for point in points]
    base = split(changes.summary.baseline)[0]
    notes = (
        f"AUDC ×100 minus that of {base} at the same point, with 95 % paired bootstrap intervals, {RESAMPLES:,} "
        f"resamples; not corrected for {len(by_point)} comparisons.",
    )
    return Table(f"Against {base} at the same point of the grid", ("point", *methods), tuple(lines), notes=notes)


def _change_text(change: Change | None, form: tuple[float, int] = PERCENT) -> str:
    """A difference with its interval, as text; `form`: factor and digits."""
    if change is None:
        return number(math.nan)
    return with_interval((change.estimate, change.low, change.high), *form)


def changes_table(changes: Changes) -> Table | None:
    """Every measure of every method against the baseline, over all tasks; None without a second method."""
    summary = changes.summary
    rows = [row for row in summary.rows if row.method != summary.baseline]
    if not rows:
        return None
    target = number(100 * summary.target)
    measures = {
        "Δ s_d": ("s_d", (1, 2)),
        "Δ AUDC": ("audc", PERCENT),
        "Δ small alone": ("small", PERCENT),
        "Δ at 25 % deferral": ("quality_25", PERCENT),
        f"Δ cost at {target}, %": ("cost", (100, 1)),
        "Δ at the same cost": ("quality_same_cost", PERCENT),
    }
    lines = [
        (marked(row), *(_versus_baseline(changes, row.method, *measure) for measure in measures.values()))
        for row in rows
    ]
    over = " and over seeds" if len(summary.run.seeds) > 1 else "; one seed"
    notes = (
        f"Minus {summary.baseline} on the seeds that both have, with 95 % intervals: paired bootstrap over examples "
        f"within tasks{over}, {CURVES:,} resamples (AUDC {RESAMPLES:,}). Qualities ×100; alone: at 0 % deferral.",
        f"Cost at {target}, in % of what {summary.baseline} pays: of the quality that the cascade of "
        f"{summary.baseline} has at 50 % deferral. Same cost: the quality for what that cascade costs. Both on the "
        "upper hull, and in every resample that resample's own." + _unreached_costs(changes),
    )
    return Table(
        f"What each method changes, against {summary.baseline}", ("method", *measures), tuple(lines), notes=notes
    )


def _versus_baseline(changes: Changes, method: str, measure: str, form: tuple[float, int]) -> str:
    change = changes.versus_baseline.get((changes.scopes[0].name, method, measure))
    if change and measure == "audc":  # the same text as in the main table
        return difference(changes.summary.row(method))
    return _change_text(change, form)


def _unreached_costs(changes: Changes) -> str:
    """A sentence on the resamples in which a method does not reach the quality that costs are compared at, or ""."""
    in_table = (c for c in changes.versus_baseline.values() if (c.scope, c.measure) == (changes.scopes[0].name, "cost"))
    counts = [f"{c.method} {c.unreached} of {CURVES:,}" for c in in_table if c.unreached]
    return f" Resamples that do not reach it count as dearer than any other: {', '.join(counts)}." if counts else ""


def others_table(changes: Changes) -> Table | None:
    """AUDC of the CAT objectives against every other method; None without a method that is not of the paper."""
    run, summary = changes.summary.run, changes.summary
    cat_methods = [name for name in CAT if name in run.methods]
    if not cat_methods or set(run.methods) <= set(OBJECTIVES):
        return None
    others = [row for row in summary.rows if row.method != summary.baseline]
    lines = [(marked(row), *(_against(changes, name, row.method) for name in cat_methods)) for row in others]
    notes = (
        f"AUDC ×100 of the method at the top minus that of the row, on the seeds that both have; 95 % paired bootstrap "
        f"interval, {RESAMPLES:,} resamples. Win or loss: p < 0.05 after Holm's correction for all rows of the column.",
    )
    return Table("Against other methods", ("method", *cat_methods), tuple(lines), notes=notes)


def _against(changes: Changes, method: str, other: str) -> str:
    change = changes.versus_others.get((method, other))
    if change is None:
        return "" if method == other else number(math.nan)
    return _change_text(change) + ("" if change.outcome == "tie" else f" {change.outcome}")


def headline_table(changes: Changes) -> Table | None:
    """How far each method is from what the paper reports; None without a complete seed of the baseline."""
    summary = changes.summary
    if summary.row(summary.baseline).curve is None:
        return None
    lines = []
    for row in summary.rows:
        gap = _versus_baseline(changes, row.method, "quality_half_cost", PERCENT)
        needed = [BEYOND if math.isinf(s_d) else number(s_d, 2) for s_d in changes.needed(row.method)]
        lines.append((marked(row), gap, number(row.s_d.mean, 2), *needed))
    names = (f"quality at half the cost, minus {number(100 * summary.target)}", "s_d", "s_d for half the cost")
    points = f"{100 * POINTS:+.0f} points"
    notes = (
        f"arXiv 2406.00060 reports {100 * SAVING:.0f} % cost at matched quality and {points} at matched cost. "
        f"Half the cost: of what {summary.baseline} pays for the quality of its cascade at 50 % deferral; what is "
        "missing there, ×100, with its 95 % interval.",
        f"s_d for …: with its answers as they are, how well a method would have to defer; {BEYOND}: not even the "
        "per-example oracle (1) is enough, the answers would have to be better.",
    )
    title = "What the paper's headline would take"
    return Table(title, ("method", *names, f"s_d for {points}"), tuple(lines), notes=notes)
