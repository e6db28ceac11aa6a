"""Tables of routers beside cascades, the sentence that answers which of them to take, and the rows of `routing.csv`."""

import math

from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.routing import (
    BOTH,
    CASCADE,
    COIN,
    LEARNED,
    LEARNED_RULE,
    RESAMPLES,
    ROUTE,
    SHARES,
    Routing,
    Standing,
)  # fmt: skip
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.tables.main_tables import marked
from benchmarks.report.tables.render import Table, number, signed, with_interval
from benchmarks.report.tables.rule_tables import interval_record

QUESTION = "Router or cascade? "
NAMES = {
    CASCADE: "cascade by {}",
    LEARNED: f"cascade by {LEARNED_RULE}",
    ROUTE: "route",
    BOTH: "route, then cascade",
    COIN: "a coin before any answer",
}


def every_table(summary: Summary, routing: Routing) -> list[Table]:
    """The tables; none where no router was judged."""
    return [_table(summary, routing), _budgets_table(summary, routing)] if routing.standings else []


def sentence(summary: Summary, routing: Routing) -> str:
    """The answer to "router or cascade?", with intervals, or why there is none."""
    if not routing.standings:
        return f"Routing was not judged: {routing.reason}."
    ways = {way: routing.standings.get((way, summary.baseline)) for way in routing.ways}
    if ways[CASCADE] is None:
        return f"Routing was not judged: {summary.baseline} has no complete seed."
    worth = f"{100 * ways[CASCADE].quality.estimate:.1f}"
    route, both = (with_interval(ways[way].difference) for way in (ROUTE, BOTH))
    return (
        f"{QUESTION}{_answer(ways)} Mean quality of 100 over all budgets between the costs of the two models, "
        f"with the answers of {summary.baseline}: cascade {worth}, a router on the prompt {route}, a router before the "
        f"cascade {both}."
    )


def _answer(ways: dict[str, Standing]) -> str:
    gains = {way: ways[way].difference for way in (ROUTE, BOTH)}
    better = [way for way, gain in gains.items() if gain.low > 0]
    if better:
        best = max(better, key=lambda way: gains[way].estimate)
        return "A router." if best == ROUTE else "A router before a cascade."
    if gains[ROUTE].high < 0:
        return "A cascade." if gains[BOTH].high < 0 else "A cascade; a router before it adds nothing that shows."
    return "They cannot be told apart."


def _table(summary: Summary, routing: Routing) -> Table:
    def cell(standing: Standing | None) -> str:
        if standing is None:
            return number(float("nan"))
        value = number(100 * standing.quality.estimate)
        low, high = (signed(100 * end, 2) for end in standing.difference[1:])
        return value if math.isnan(standing.p_value) else f"{value} [{low}, {high}]"

    run = summary.run
    rows = [
        (NAMES[way].format(run.rule), *(cell(routing.standings.get((way, method))) for method in run.methods))
        for way in routing.ways
    ]
    reasons = dict.fromkeys(routing.lacks.values())
    left_out = [
        f"Not judged: {', '.join(name for name, why in routing.lacks.items() if why == reason)} ({reason})."
        for reason in reasons
    ]
    notes = (
        sentence(summary, routing).removeprefix(QUESTION),
        "Mean quality (×100) over all budgets between the mean costs of the two models. In brackets: 95 % paired "
        f"bootstrap interval of the difference to the cascade, {RESAMPLES:,} resamples. Averages over "
        f"{len(routing.tasks)} task{'s' * (len(routing.tasks) != 1)} and seeds.",
        "A router reads the prompt alone (TF-IDF of its words) and asks one model: cost (1 − ρ) c_S + ρ c_L. A cascade "
        "always pays the small model: c_S + ρ c_L. Routers are cross-fitted to the qualities of both models on the "
        "same examples, and all thresholds are chosen on other folds than they are judged on.",
        *left_out,
    )
    columns = ("way", *(marked(summary.row(method)) for method in run.methods))
    return Table("Router or cascade?", columns, tuple(rows), 1, notes)


def _budgets_table(summary: Summary, routing: Routing) -> Table:
    run, rows = summary.run, []
    for way in routing.ways:
        for i, share in enumerate(SHARES):
            standings = [routing.standings.get((way, method)) for method in run.methods]
            cells = [number(float("nan") if each is None else 100 * each.at[i]) for each in standings]
            rows.append((f"{NAMES[way].format(run.rule)}, {share:.0%}", *cells))
    notes = ("Within the small model's mean cost plus this share of what the large model costs more.",)
    columns = ("way", *(marked(summary.row(method)) for method in run.methods))
    return Table("Quality (×100) of routers and cascades by budget", columns, tuple(rows), len(SHARES), notes)


def records(summary: Summary, routing: Routing) -> list[Record]:
    """The rows of `routing.csv`, qualities in [0, 1]; `_low`, `_high`: 95 % bootstrap interval."""
    return [
        {"way": way, "method": method, "tasks": len(routing.tasks)}
        | interval_record("quality_over_budgets", standing.quality)
        | interval_record("minus_cascade", standing.difference)
        | {"p": standing.p_value}
        | {f"quality_at_{share:g}_of_budget": value for share, value in zip(SHARES, standing.at, strict=True)}
        | {"audc": standing.audc}
        for (way, method), standing in routing.standings.items()
    ]
