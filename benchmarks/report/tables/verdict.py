"""The two or three sentences that a reader of a run needs before any table."""

import math

from benchmarks.report.numbers.changes import Change, Changes
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.tables.render import with_interval


def sentences(changes: Changes) -> list[str]:
    """What the two models are worth, and which methods are better or worse than the baseline."""
    summary = changes.summary
    scope = changes.scopes[0].name if changes.scopes else ""
    areas = [changes.versus_baseline.get((scope, method, "audc")) for method in summary.run.methods]
    areas = [area for area in areas if area is not None and not math.isnan(area.low)]
    return [*_of_models(summary), *of_methods(areas, summary.baseline)]


def _of_models(summary: Summary) -> list[str]:
    row = summary.row(summary.baseline)
    if row.curve is None or math.isnan(summary.large_quality):
        return []
    small, half, large = row.curve.quality[0], row.curve.quality_at(0.5), summary.large_quality
    return [
        f"Quality of 100: the small model ({summary.baseline}) {100 * small:.1f}, the large model {100 * large:.1f}, "
        f"a cascade that defers half of the queries {100 * half:.1f}."
    ]


def of_methods(areas: list[Change], baseline: str) -> list[str]:
    """Which methods are better, which worse, and of which neither can be said, from their changes of AUDC."""

    def listed(changes: list[Change]) -> str:
        return ", ".join(
            f"{change.method} {with_interval((change.estimate, change.low, change.high))}"
            for change in sorted(changes, key=lambda change: -change.estimate)
        )

    groups = {
        "Better than": [change for change in areas if change.low > 0],
        "Worse than": [change for change in areas if change.high < 0],
    }
    lines = [f"{word} {baseline}, in points of AUDC: {listed(group)}." for word, group in groups.items() if group]
    open_ones = [change.method for change in areas if change.low <= 0 <= change.high]
    if open_ones:
        lines.append(f"No difference to {baseline} can be shown for {', '.join(open_ones)}.")
    return lines
