"""The main table: every training objective, with intervals."""

from benchmarks.report.tables import main_tables
from paper_figs.figure import Figure, Sheet, alone
from paper_figs.source import Source


def draw(source: Source) -> Sheet:
    return Sheet(main_tables.main_table(source.numbers, detail=True), main_tables.main_records(source.numbers))


FIGURE = Figure(
    name="methods",
    caption="Quality (× 100) by share of queries deferred, area under the deferral curve and its difference to `xent` "
    "with a 95 % interval, ranking of the score, and cost at matched quality, by training objective.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
    table=True,
)
