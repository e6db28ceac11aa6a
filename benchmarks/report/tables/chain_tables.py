"""The table of longer cascades, the sentence that says whether the models in the middle pay, and their CSV files."""

import math
from collections.abc import Iterator

from benchmarks.report.numbers.chains import RESAMPLES, TWO, Chains, Standing
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.tables.render import Table, number, with_interval
from benchmarks.report.tables.rule_tables import interval_record


def table(summary: Summary, chains: Chains | None) -> Table | None:
    """One row per method; None for a run of two models, or where nothing could be judged."""
    if chains is None or not chains.standings:
        return None
    baseline, count = summary.baseline, len(chains.roles)
    columns = (
        "method", chains.whole.replace(" ", ""), f"Δ to {baseline}", "Δ to the better\nof two models",
        *(f"Δ to\n{pair.replace(' ', '')}" for pair in chains.pairs),
    )  # fmt: skip
    rows = [_row(method, standing, chains) for method, standing in chains.standings.items()]
    left_out = [f"Not judged: {name} ({why})." for name, why in chains.lacks.items()]
    notes = (
        sentence(chains),
        f"Mean quality (×100) over all budgets, in FLOPs per query, between the mean costs of the small and of the "
        f"large model; against a pair, from the cost of its first model on. In brackets: 95 % interval, paired over "
        f"examples within tasks and over seeds, {RESAMPLES:,} resamples. Averages over {len(chains.tasks)} "
        f"task{'s' * (len(chains.tasks) != 1)}.",
        f"All threshold vectors of {count - 1} stages are tried, on other folds than they are judged on, and a coin "
        "may decide between two of them. The better of two models: at each budget, the best that its cascades and a "
        "coin between them give, of the same models.",
        *_rational_note(baseline, chains),
        *left_out,
    )
    return Table(f"Longer cascades, {summary.run.manifest['profile']}", columns, tuple(rows), notes=notes)


def _row(method: str, standing: Standing, chains: Chains) -> tuple[str, ...]:
    versus = standing.versus_baseline
    return (
        method,
        number(100 * standing.quality[chains.whole].estimate),
        with_interval(versus) if versus else "",
        *(with_interval(standing.minus[name]) for name in (TWO, *chains.pairs)),
    )


def _rational_note(baseline: str, chains: Chains) -> list[str]:
    if baseline not in chains.standings:
        return []
    gain = with_interval(chains.standings[baseline].rational)
    return [f"Thresholds by rational tuning (arXiv 2501.09345) in place of the grid, {baseline}, first seed: {gain}."]


def sentence(chains: Chains) -> str:
    """Whether the models in the middle pay, in plain words."""
    between = chains.roles[1:-1]
    what = f"the model {between[0]}" if len(between) == 1 else f"the models {', '.join(between)}"
    if not chains.standings:
        reasons = ", ".join(dict.fromkeys(chains.lacks.values())) or "no method has answers of all models"
        return f"Whether {what} between small and large pays cannot be said: {reasons}."
    gains = {method: standing.minus[TWO] for method, standing in chains.standings.items()}
    groups = {
        "yes": [method for method, gain in gains.items() if gain.low > 0],
        "no, two models are better": [method for method, gain in gains.items() if gain.high < 0],
        "it cannot be told": [method for method, gain in gains.items() if gain.low <= 0 <= gain.high],
    }
    parts = [
        f"{answer} with {', '.join(f'{method} {with_interval(gains[method])}' for method in methods)}"
        for answer, methods in groups.items()
        if methods
    ]
    verb = "Does" if len(between) == 1 else "Do"
    return (
        f"{verb} {what} pay? {'; '.join(parts)[0].upper()}{'; '.join(parts)[1:]}: points of quality over the better "
        "cascade of two of these models at equal cost."
    )


def records(chains: Chains) -> Iterator[Record]:
    """The rows of `chains.csv`, qualities in [0, 1]; `_low`, `_high`: 95 % bootstrap interval."""
    for method, standing in chains.standings.items():
        for name, quality in standing.quality.items():
            minus = standing.minus.get(name)
            yield (
                {"method": method, "cascade": name, "tasks": len(chains.tasks)}
                | interval_record("quality_over_budgets", quality)
                | (interval_record("whole_minus_it", minus) if minus else {})
                | (_of_whole(standing) if name == chains.whole else {})
            )


def _of_whole(standing: Standing) -> Record:
    versus = standing.versus_baseline
    found = interval_record("minus_baseline", versus) if versus else {}
    return found | (
        {} if math.isnan(standing.rational.estimate) else interval_record("rational_minus_grid", standing.rational)
    )


def curve_records(chains: Chains) -> Iterator[Record]:
    """The rows of `chain_curves.csv`: quality by FLOPs per query, with intervals."""
    for method, standing in chains.standings.items():
        for name, curve in standing.curves.items():
            for cost, quality, low, high in curve.T.tolist():
                yield {
                    "method": method, "cascade": name, "flops": cost,
                    "quality": quality, "quality_low": low, "quality_high": high,
                }  # fmt: skip
