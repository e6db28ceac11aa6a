"""The table of the plan's hypotheses, and the rows of `hypotheses.csv`."""

from collections.abc import Sequence

from benchmarks.report.numbers.hypotheses import Verdict
from benchmarks.report.tables.render import NOTHING, Table, csv_bytes, number, text, with_interval


def files(verdicts: Sequence[Verdict]) -> dict[str, bytes]:
    """`hypotheses.csv`, and the table as `hypotheses.md`."""
    return {"hypotheses.csv": csv_bytes(records(verdicts)), "hypotheses.md": text([table(verdicts)])}


def records(verdicts: Sequence[Verdict]) -> list[dict]:
    """One row per interval of a hypothesis, or one without where it was not measured yet; `low`, `high`: of 95 %."""
    return [
        {"hypothesis": v.hypothesis.name, "claim": v.hypothesis.claim, "analysis": v.hypothesis.folder}
        | dict(zip(("estimate", "low", "high"), interval, strict=True))
        | {"p": v.p, "p_holm": v.p_holm, "outcome": v.outcome}
        for v in verdicts
        for interval in v.intervals or (3 * (None,),)
    ]


def table(verdicts: Sequence[Verdict]) -> Table:
    """All hypotheses, each with what its analysis says."""
    rows = tuple(
        (
            v.hypothesis.name,
            ", ".join(with_interval(i, scale=100 if v.hypothesis.quality else 1) for i in v.intervals) or NOTHING,
            number(v.p, 3),
            number(v.p_holm, 3),
            v.outcome,
        )
        for v in verdicts
    )
    notes = (
        *(f"{v.hypothesis.name}: {v.hypothesis.claim}." for v in verdicts),
        "Estimates with 95 % intervals, qualities × 100, as the kept analyses have them. p: of the least certain part "
        f"of a hypothesis; p, Holm: corrected for all {len(verdicts)}, of which one that was not measured yet counts "
        "as one that will not hold. Reproduced, refuted or open as results/PLAN.md says.",
    )
    return Table("Hypotheses", ("", "estimate", "p", "p, Holm", "outcome"), rows, notes=notes)
