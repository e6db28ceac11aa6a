"""Area under the deferral curve, task by task."""

from dataclasses import replace

from benchmarks.report.numbers import per_task
from benchmarks.report.plots import chance
from benchmarks.report.tables import main_tables
from benchmarks.report.tables.render import NOTHING
from paper_figs.figure import Figure, Sheet, alone
from paper_figs.source import Source

LEVELS = ("chance", "most frequent")


def draw(source: Source) -> Sheet:
    records = list(per_task.records(source.numbers))
    table = main_tables.task_table(source.numbers, records)
    levels = {name: chance.of_task(source.run, name) for name in source.run.tasks}
    rows = [(*row[:2], *_cells(levels.get(row[0])), *row[2:]) for row in table.rows]
    notes = (*table.notes, "chance: any option; most frequent: always the best single option; – no options.")
    columns = (*table.columns[:2], *LEVELS, *table.columns[2:])
    for record in records:
        if level := levels[record["task"]]:
            record |= {"chance_quality": level.uniform, "most_frequent_quality": level.constant}
    return Sheet(replace(table, columns=columns, rows=tuple(rows), notes=notes), records)


def _cells(level: chance.Level | None) -> tuple[str, str]:
    return (f"{100 * level.uniform:.1f}", f"{100 * level.constant:.1f}") if level else (NOTHING, NOTHING)


FIGURE = Figure(
    name="tasks",
    caption="Both models alone and the area under the deferral curve (× 100) of every training objective, task by "
    "task, means over seeds, beside the quality of answering without reading the question. The CSV has every seed and "
    "the official metrics.",
    pick=alone(),
    draw=draw,
    wants="predictions of any run: `python -m benchmarks run`",
    table=True,
)
