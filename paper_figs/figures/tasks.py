"""Area under the deferral curve, task by task."""

from benchmarks.report.numbers import per_task
from benchmarks.report.tables import main_tables
from paper_figs.figure import Figure, Sheet, alone
from paper_figs.source import Source


def draw(source: Source) -> Sheet:
    rows = per_task.records(source.numbers)
    return Sheet(main_tables.task_table(source.numbers, rows), rows)


FIGURE = Figure(
    name="tasks",
    caption="Both models alone and the area under the deferral curve (× 100) of every training objective, task by "
    "task, means over seeds. The CSV has every seed and the official metrics.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
    table=True,
)
