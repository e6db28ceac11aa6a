"""What a tuning says on a terminal: the thresholds, what they give on held-out rows, and whether it is worth it."""

from collections.abc import Iterator

from rich.console import Console

from benchmarks.report.tables.render import Table, print_table
from benchmarks.tuning.search import Found
from cat_keras.cascades.verdict import Verdict
from cat_keras.evaluation.bootstrap import Interval

HELD_OUT = "{:,} rows that nothing was chosen on"


def show(found: Found, console: Console):
    """Prints it."""
    columns, tuning = found.staged, found.tuning
    if len(found.others) > 1 or found.failed:
        print_table(_pairs(found), console)
    for line in _thresholds(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if tuning.verdict:
        show_verdict(tuning.verdict, columns.unit, console)
    for line in _guarantee(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_verdict(verdict: Verdict, unit: str, console: Console, where: str = HELD_OUT):
    """Prints what thresholds give, against doing without a cascade; `where`: which rows, with a place for how many."""
    print_table(_rivals(verdict, unit, where), console)
    console.print(f"Worth it: {verdict.worth}; {verdict.reason}", markup=False, soft_wrap=True)


def _thresholds(found: Found) -> Iterator[str]:
    columns, kept = found.staged, found.tuning.calibration
    for model, after, threshold in zip(columns.models, columns.models[1:], kept.thresholds, strict=False):
        rule = columns.rules[0].name
        yield f"{model}: keep the answer if {rule} >= {threshold:.6g}, otherwise ask {after}"
    yield (
        f"chosen on {kept.examples:,} rows ({kept.fitted + columns.fitted:,} more were used before): quality "
        f"{100 * kept.quality:.1f}, cost {kept.cost:.4g} ({columns.unit}), deferred "
        f"{', '.join(f'{share:.1%}' for share in kept.deferral)}"
    )


def _rivals(verdict: Verdict, unit: str, where: str) -> Table:
    rows = [("the cascade", _span(verdict.quality, 100, 1), _span(verdict.cost, 1, None), "")]
    for each in verdict.against:
        spans = _span(each.quality, 100, 2, "+"), _span(each.cost, 1, None, "+")
        rows.append((f"minus {each.rival}", *spans, f"{each.p_quality:.2g}"))
    deferred = ", ".join(_span(each, 100, 1) for each in verdict.deferral)
    notes = (
        f"Deferred, in % of what each stage saw: {deferred}. Cost: {unit}. In brackets: 95 % intervals, bootstrap over "
        "rows within tasks. p: of equal quality. At random: as much deferred at every stage. Coin: one model chosen "
        "before it is asked, for the same mean cost.",
    )
    return Table(
        f"On {where.format(verdict.rows)}", ("", "quality × 100", "cost", "p"), tuple(rows), len(rows) - 1, notes
    )


def _span(interval: Interval, scale: float, digits: int | None, sign: str = "") -> str:
    form = f"{sign}.{digits}f" if digits is not None else f"{sign}.3g"
    estimate, low, high = (format(scale * value, form) for value in interval)
    return f"{estimate} [{low}, {high}]"


def _guarantee(found: Found) -> Iterator[str]:
    tuning, kept = found.tuning, found.tuning.calibration
    given = kept.guarantee
    if not given:
        return
    yield (
        f"Guarantee kept: the mean {given['of']} is at most {given['alpha']:g} with probability {1 - given['delta']:g} "
        "over the draw of the rows."
    )
    if tuning.rows_needed:
        yield (
            f"Of thresholds that lose half of that and defer {tuning.rows_deferral:.1%} it would hold with about "
            f"{tuning.rows_needed:,} labelled rows to choose on; {kept.examples + kept.fitted:,} there are now."
        )


def _pairs(found: Found) -> Table:
    rows = []
    for columns, tuning in found.others:
        kept, verdict = tuning.calibration, tuning.verdict
        chosen = " ←" if columns is found.staged else ""
        judged = (
            (_span(verdict.quality, 100, 1), _span(verdict.cost, 1, None), verdict.worth) if verdict else ("", "", "")
        )
        rows.append((columns.models[0] + chosen, f"{kept.thresholds[0]:.6g}", f"{kept.deferral[0]:.1%}", *judged))
    rows += [(name, "none", "", "", "", why[:60]) for name, why in found.failed.items()]
    notes = ("Quality and cost on held-out rows. ←: taken, as the best on the rows that thresholds are chosen on.",)
    title = f"Every small model before {found.staged.models[-1]}"
    return Table(title, ("small", "threshold", "deferred", "quality × 100", "cost", "worth it"), tuple(rows), 0, notes)
