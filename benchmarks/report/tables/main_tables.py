"""The main tables of a report, by method, by task and by stratum, with notes on what their numbers mean."""

import math

from benchmarks.report.numbers import costs
from benchmarks.report.numbers.per_task import Record, headline
from benchmarks.report.numbers.summary import RATES, RESAMPLES, Measured, Row, Summary
from benchmarks.report.reading.load import START
from benchmarks.report.tables.render import Table, number, with_interval

MARK = "†"  # beside a name or number whose average lacks something that a note names
RATE_COLUMNS = tuple(f"{rate:.0%}" for rate in RATES)


def unit(summary: Summary) -> tuple[float, str]:
    """Size and name of a unit in which the large model's cost has few digits."""
    baseline = summary.row(summary.baseline).curve
    costs_of_models = (summary.large_cost, baseline.cost[0] if baseline else math.nan)
    return costs.base(summary.run).unit(next((cost for cost in costs_of_models if cost > 0), math.nan))


def _percent(value: Measured, detail: bool) -> str:
    return number(100 * value.mean, 1, 100 * value.sd if detail else math.nan)


def _plain(value: Measured, detail: bool) -> str:
    return number(value.mean, 2, value.sd if detail else math.nan)


def marked(row: Row) -> str:
    """Name of a row, with `MARK` when its averages lack something."""
    return f"{row.name} {MARK}" if row.holes else row.name


def difference(row: Row) -> str:
    """AUDC ×100 minus that of the baseline, with its interval; "" where there is none."""
    return "" if row.difference is None else with_interval(row.difference)


def _matched_cost(summary: Summary, row: Row, detail: bool) -> str:
    """The cost at which a row reaches the target quality, and its share of the large model's cost."""
    if math.isnan(row.cost.mean):
        unknown = row.curve is None or not row.curve.has_cost or math.isnan(summary.target)
        return number(math.nan) if unknown else "not reached"
    size, _ = unit(summary)
    spread = row.cost.sd / size if detail else math.nan
    return number(row.cost.mean / size, 1, spread) + costs.share_text(row.cost.mean, summary.large_cost)


def main_table(summary: Summary, detail: bool) -> Table:
    """One row per method, then references.

    Args:
        detail: every number with its standard deviation over seeds; otherwise only AUDC and s_d, to fit a console.
    """
    columns = (
        "method",
        *RATE_COLUMNS,
        "AUDC",
        f"Δ AUDC to {summary.baseline}",
        "s_d",
        "AUROC",
        cost_name(summary),
        *(() if summary.run.imported else ("live",)),
    )
    lines = [_line(summary, row, detail) for row in (*summary.rows, *summary.references)]
    lines += _single_models(summary, columns)
    return Table(
        f"Quality (×100) by share of queries deferred, {summary.run.manifest['profile']}",
        columns,
        tuple(lines),
        references=len(lines) - len(summary.rows),
        notes=(*_pair_notes(summary), *_main_notes(summary), *hole_notes(summary)),
    )


def _pair_notes(summary: Summary) -> list[str]:
    """What the table leaves out of a run of three or more models."""
    between = ", ".join(summary.run.middle)
    return [f"Cascades of the small and the large model alone, without {between}: see Longer cascades."] * bool(between)


def cost_name(summary: Summary) -> str:
    """Header of the cost column."""
    return f"{unit(summary)[1]}\nat {number(100 * summary.target)}"


def _line(summary: Summary, row: Row, detail: bool) -> tuple[str, ...]:
    return (
        marked(row),
        *(_percent(value, detail) for value in row.quality),
        _percent(row.audc, True),
        difference(row),
        _plain(row.s_d, True),
        _plain(row.auroc, detail) + (f" {MARK}" if row.alike else "") if row.method else "",
        _matched_cost(summary, row, detail),
        *(() if summary.run.imported else (f"{row.live.mean:.0%}" if not math.isnan(row.live.mean) else "",)),
    )


def _single_models(summary: Summary, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Lines of the models alone and of the best possible predictor: one quality and, for models, their own cost."""
    baseline, (size, _) = summary.row(summary.baseline), unit(summary)

    def line(name, rate, quality, cost=math.nan):
        cells = dict.fromkeys(columns, "")
        cells |= {"method": name, f"{rate:.0%}": number(100 * quality)}
        if not math.isnan(cost):
            cells[cost_name(summary)] = number(cost / size) + costs.share_text(cost, summary.large_cost)
        return tuple(cells.values())

    mark = f" {MARK}" if len(summary.run.covered) < len(summary.run.tasks) else ""
    baseline_mark = f" {MARK}" if baseline.holes else ""
    quality, cost = (baseline.quality[0].mean, baseline.curve.cost[0]) if baseline.curve else (math.nan, math.nan)
    lines = [
        line(f"small alone ({summary.baseline}){baseline_mark}", 0, quality, cost),
        line(f"large alone{mark}", 1, summary.large_quality, summary.large_cost),
    ]
    if summary.run.bayes is not None:
        lines.append(line(f"Bayes-optimal{mark}", 1, summary.run.bayes))
    return lines


def _main_notes(summary: Summary) -> tuple[str, ...]:
    run, several = summary.run, len(summary.run.seeds) > 1
    size, name = unit(summary)
    over = "over examples within tasks and over seeds" if several else "over examples within tasks"
    seeds = (
        f"{len(run.seeds)} seeds: means ± standard deviation; resampling so few seeds makes intervals rather narrow."
        if several
        else "One seed: the interval does not cover what another seed would change."
    )
    tasks = (
        f"{len(run.tasks)} tasks, each deferring the same share of its own queries by {run.rule}; plain averages."
        if len(run.tasks) > 1
        else f"Deferral by {run.rule}."
    )
    start = f" {START}: the small model before any of the objectives." if run.start_seeds else ""
    return (
        f"{tasks} {seeds}",
        f"Δ with its 95 % interval: paired bootstrap {over}, {RESAMPLES:,} resamples. "
        "s_d: 0 random, 1 the per-example oracle. AUROC: of the score, small model right or wrong "
        "(graded quality: above the task's median over all small models).",
        f"{name} at {number(100 * summary.target)}: mean cost per query, averaged over tasks, of the cheapest cascade "
        f"(upper hull) that reaches {number(100 * summary.target)}, the quality of {summary.baseline} at 50 % "
        f"deferral; in % of the large model alone ({number(summary.large_cost / size)} {name}). Single models: their "
        "own cost." + ("" if run.imported else " Live: share of target tokens that the loss kept."),
        f"random, oracle: the same predictions of {summary.baseline}, deferred in other orders.{start}",
        *_cost_notes(summary),
    )


def _cost_notes(summary: Summary) -> list[str]:
    """Why there are no costs, or no shares of the large model's."""
    if math.isnan(summary.large_cost) or any(row.curve and not row.curve.has_cost for row in summary.rows):
        return [
            "FLOPs are not known of every model: not every architecture can be counted, and an endpoint tells none. "
            "Costs are calls of the large model, and prices where both are given."
        ]
    return [] if summary.large_cost > 0 else ["The large model costs nothing, so no cost is a share of its own."]


def hole_notes(summary: Summary) -> list[str]:
    """Notes on what each marked row or number lacks."""
    rows = (*summary.rows, *summary.references)
    alike = dict.fromkeys(name for row in rows for name in row.alike)
    notes = [f"{MARK} {row.name}: {'; '.join(row.holes)}." for row in rows if row.holes]
    return notes + ([f"{MARK} AUROC: tasks with all answers alike are left out: {', '.join(alike)}."] if alike else [])


def task_table(summary: Summary, rows: list[Record]) -> Table:
    """Per task: both models alone and the AUDC of each method, means over the seeds that are there."""
    run, lines = summary.run, []
    for name in run.tasks:
        of_task = [row for row in rows if row["task"] == name and row["status"] == "ok"]
        by_method = {method: [row for row in of_task if row["method"] == method] for method in run.methods}
        audc = [_mean_over_seeds(by_method[method], "audc", len(run.seeds)) for method in run.methods]
        small = _mean_over_seeds(by_method[summary.baseline], "small_quality", len(run.seeds))
        large = number(100 * run.large[name]["quality"].mean()) if name in run.large else number(math.nan)
        lines.append((name, str(len(run.examples[name])), small, large, *audc))
    notes = (f"AUDC ×100, mean over seeds; {MARK} lacks a seed. small: {summary.baseline} alone.",)
    return Table("AUDC (×100) by task", ("task", "n", "small", "large", *run.methods), tuple(lines), notes=notes)


def _mean_over_seeds(rows: list[Record], key: str, expected: int) -> str:
    """Mean ×100 of a column, as text; with `MARK` where there are fewer rows than expected seeds."""
    if not rows:
        return number(math.nan)
    mean = number(100 * sum(row[key] for row in rows) / len(rows))
    return mean if len(rows) == expected else f"{mean} {MARK}"


def official_table(summary: Summary, rows: list[Record]) -> Table:
    """The official number of each task, of the models alone."""
    run, lines = summary.run, []
    for name in run.tasks:
        key, values = headline(run, rows, name)
        means = [values[model].mean if values else math.nan for model in (*run.methods, "large")]
        digits = 3 if key == "matthews" else 1  # it lies in [-1, 1]
        lines.append((name, key, *(number(mean, digits) for mean in means)))
    signatures = {row["metric"]: None for row in rows if "version:" in str(row["metric"])}
    notes = ("Means over the seeds that are there; all numbers by seed in tasks.csv.", *signatures)
    columns = ("task", "metric", *(f"{m} alone" for m in run.methods), "large alone")
    return Table("Official metrics of the models alone", columns, tuple(lines), notes=notes)


def strata_table(summary: Summary) -> Table | None:
    """Quality of the models alone by group of example; None when examples have no groups."""
    if not summary.strata:
        return None
    run = summary.run
    labels = {method: marked(summary.row(method)) for method in run.methods} | {"large": "large"}
    strata = [values for _, values in summary.strata.values()]
    rows = tuple((label, *(_percent(values[model], True) for values in strata)) for model, label in labels.items())
    partial = [f"{group}: {count}" for group, (count, _) in summary.strata.items() if count < len(run.covered)]
    notes = (f"Not every task has every group; tasks averaged over, {', '.join(partial)}.",) if partial else ()
    return Table("Quality (×100) of the models alone, by stratum", ("model", *summary.strata), rows, 1, notes)


def main_records(summary: Summary) -> list[Record]:
    """The rows of `table.csv`; quality in [0, 1], costs in FLOPs per query.

    `_low`, `_high`: 95 % bootstrap interval of AUDC and its difference. `_sd`: standard deviation over seeds.
    """
    return [_record(summary, row) for row in (*summary.rows, *summary.references)]


def _record(summary: Summary, row: Row) -> Record:
    record: Record = {"method": row.name, "kind": "method" if row in summary.rows else "reference"}
    record |= {"seeds": len(row.seeds), "incomplete": "; ".join(row.holes), "auroc_lacks": ", ".join(row.alike)}
    measured = {f"quality_{rate * 100:.0f}": value for rate, value in zip(RATES, row.quality, strict=True)}
    measured |= {"audc": row.audc, "s_d": row.s_d, "auroc_small_right": row.auroc}
    measured |= {"flops_at_matched_quality": row.cost, "live": row.live}
    for name, value in measured.items():
        record |= {f"{name}_mean": value.mean, f"{name}_sd": value.sd}
        if name == "audc":
            record |= _interval("audc", row.interval, estimate=False)
            record |= _interval(f"audc_minus_{summary.baseline}", row.difference, estimate=True)
    record["share_of_large_at_matched_quality"] = costs.share(row.cost.mean, summary.large_cost)
    return record | {"matched_quality": summary.target, "large_quality": summary.large_quality}


def _interval(name: str, interval, estimate: bool) -> Record:
    mean, low, high = interval or (None, None, None)
    return ({f"{name}_mean": mean} if estimate else {}) | {f"{name}_low": low, f"{name}_high": high}
