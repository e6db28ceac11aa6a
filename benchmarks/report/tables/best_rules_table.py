"""The table of methods that each have their best rule, and the rows of `best-rules.csv`."""

from collections.abc import Mapping, Sequence

from benchmarks.report.numbers.best_rules import BASELINE, Standing
from benchmarks.report.tables.render import Table, csv_bytes, number, text, with_interval
from benchmarks.report.tables.rule_tables import NOTHING, interval_record


def files(standings: Sequence[Standing], facts: Mapping) -> dict[str, bytes]:
    """`best-rules.csv`, and the table as `table.md`."""
    return {"best-rules.csv": csv_bytes(records(standings)), "table.md": text([table(standings, facts)])}


def records(standings: Sequence[Standing]) -> list[dict]:
    """One row per method; `_low`, `_high`: 95 % bootstrap interval."""
    return [
        {"method": s.method, "rules": "; ".join(f"{kind}: {rule}" for kind, rule in s.rules.items())}
        | interval_record("quality", s.quality)
        | interval_record(f"quality_minus_{BASELINE}", s.gain or NOTHING)
        | {"p": s.p}
        | interval_record(f"quality_minus_{BASELINE}_by_same_rule", s.gain_by_same or NOTHING)
        | interval_record("worth", s.worth)
        for s in standings
    ]


def table(standings: Sequence[Standing], facts: Mapping) -> Table:
    """All methods, each with the rules that validation data chose for it."""
    kinds = list(standings[0].rules)
    rows = tuple(
        (
            s.method,
            *(s.rules[kind] for kind in kinds),
            number(100 * s.quality.estimate),
            *("" if gain is None else with_interval(gain) for gain in (s.gain, s.gain_by_same)),
            with_interval(s.worth),
        )
        for s in standings
    )
    columns = ("", *kinds, "quality", f"Δ to {BASELINE}", "by one rule", "worth")
    tried = "; ".join(f"{kind}: {', '.join(_named(ways, facts['rule']))}" for kind, ways in facts["ways"].items())
    notes = (
        "quality: mean over all budgets between the costs of the two models, × 100, over "
        f"{len(facts['tasks'])} tasks with {facts['examples']:,} test examples and over seeds; 95 % intervals over "
        "examples and seeds.",
        f"Each method by the rules that are best for it on validation data, {facts['validation']}, out of {tried}; "
        f"judged on test data, {facts['test']}.",
        f"by one rule: Δ to {BASELINE}, all by {facts['rule']}. worth: what its own rules add to that.",
    )
    return Table("Every method by its best rules", columns, rows, notes=notes)


def _named(ways: Sequence[str], run_rule: str) -> list[str]:
    """The first way is the cascade by the rule of the run."""
    return [run_rule, *ways[1:]]
