"""Tables of rejecting, one per mixture, and the rows of `rejection.csv` and `rejection_curves.csv`."""

from dataclasses import replace

from benchmarks.report.numbers.rejecting import SHARES, Standings
from benchmarks.report.tables.render import Table, number, with_interval

COLUMNS = (
    "Rule",
    "Joint risk,\nmean",
    "[95 % interval]",
    "Minus max-probability",
    "As many\nrejected",
    "AUROC",
    "AUGRC",
)


def tables(standings: Standings, facts: dict) -> list[Table]:
    """One table per place that questions come from, with a row per method and rule; the last explains all."""
    places = dict.fromkeys(place for place, _, _ in standings)
    found = [_table(place, standings, facts) for place in places]
    return [replace(table, notes=()) for table in found[:-1]] + found[-1:]


def _table(place: str, standings: Standings, facts: dict) -> Table:
    several = len({method for where, method, _ in standings if where == place}) > 1
    rows = [
        (
            f"{rule}, {method}" if several else rule,
            number(100 * s.area.estimate, 2),
            f"[{100 * s.area.low:.2f}, {100 * s.area.high:.2f}]",
            with_interval(s.difference),
            f"{100 * s.at_budget.estimate:.1f} [{100 * s.at_budget.low:.1f}, {100 * s.at_budget.high:.1f}]",
            number(100 * s.auroc, 1),
            number(100 * s.augrc, 2),
        )
        for (where, method, rule), s in standings.items()
        if where == place
    ]
    deferral = f" {facts['deferral']:.0%} of the questions are deferred." if facts["deferral"] else ""
    return Table(
        f"Rejecting, with {facts['share']:.0%} of the questions from elsewhere: {place}",
        COLUMNS,
        tuple(rows),
        notes=(
            f"Joint risk of 100: {1 - facts['c_fn']:g} × share of own questions that are kept and wrong + "
            f"{facts['c_fn']:g} × share of the others that is kept; mean over all shares rejected, and where as many "
            f"are rejected as are from elsewhere. Lower is better, but for the AUROC of own against others.{deferral}",
        ),
    )


def records(standings: Standings) -> list[dict]:
    """One row per mixture, method and rule."""
    return [
        {"elsewhere": place, "method": method, "rule": rule}
        | {f"{name}{end}": getattr(value, part) for name, value in (("joint_risk", s.area),
           ("joint_risk_minus_max_probability", s.difference), ("joint_risk_at_budget", s.at_budget))
           for end, part in (("", "estimate"), ("_low", "low"), ("_high", "high"))}
        | {"auroc": s.auroc, "augrc": s.augrc}
        for (place, method, rule), s in standings.items()
    ]  # fmt: skip


def curve_records(standings: Standings) -> list[dict]:
    """One row per mixture, method, rule and share rejected."""
    return [
        {"elsewhere": place, "method": method, "rule": rule, "rejected": float(share), "joint": float(joint),
         "joint_low": float(low), "joint_high": float(high), "kept_risk": float(kept)}
        for (place, method, rule), s in standings.items()
        for share, joint, low, high, kept in zip(SHARES, s.curve, s.low, s.high, s.kept, strict=True)
    ]  # fmt: skip
