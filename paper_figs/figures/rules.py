"""Deferral rules × training objectives, on the same predictions."""

from benchmarks.report.tables import rule_tables
from paper_figs.figure import Figure, Sheet, alone
from paper_figs.source import Source


def draw(source: Source) -> Sheet:
    return Sheet(rule_tables.rules_table(source.numbers), rule_tables.rule_records(source.numbers))


FIGURE = Figure(
    name="rules",
    caption="Area under the deferral curve (× 100) of every deferral rule with every training objective, on the same "
    "predictions: averages over tasks and seeds, over all tasks, and over classification and generation apart.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
    table=True,
)
