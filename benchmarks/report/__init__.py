"""The report of a run: tables and plots, computed from its predictions alone. Loads no model and no TensorFlow.

`load` reads and checks the folder, `summary` and `per_task` compute, `cautions` warns, `tables` lays out, `render` and
`plots` draw. The same folder gives the same bytes.
"""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.report import cautions, load, per_task, plots, render, summary, tables
from cat_keras import store


def build(run_dir: Path, console: Console) -> Path:
    """Writes the report of a finished run into its folder and prints the short form.

    Args:
        run_dir: a run folder, see `load`. console: where tables and warnings are printed.

    Returns:
        `table.md`, beside which `table.csv`, `tasks.csv`, `rules.csv` and the plots lie.

    Raises:
        CatKerasError: the folder is not a finished run or a file of it is damaged.
    """
    numbers = summary.summarize(load.load(run_dir))
    rows, warnings = per_task.records(numbers), cautions.sentences(numbers)
    contents = {
        "table.csv": render.csv_bytes(tables.main_records(numbers)),
        "tasks.csv": render.csv_bytes(rows),
        "rules.csv": render.csv_bytes(tables.rule_records(numbers)),
        **plots.files(numbers),
        "table.md": _markdown(numbers, rows, warnings),
    }
    for name, content in contents.items():
        store.write_bytes(Path(run_dir) / name, content)
    _print(numbers, rows, warnings, console)
    return Path(run_dir) / "table.md"


def _markdown(numbers: summary.Summary, rows, warnings: list[str]) -> bytes:
    parts = [f"# Report of the run {numbers.run.manifest['profile']}", ""]
    if warnings:
        parts += ["## Warnings", "", *(f"- {line}" for line in warnings), ""]
    shown = [
        tables.main_table(numbers, detail=True),
        tables.task_table(numbers, rows),
        tables.official_table(numbers, rows),
        tables.rules_table(numbers),
        tables.strata_table(numbers),
    ]
    parts += [render.markdown(table) for table in filter(None, shown)]
    parts += ["![Quality by deferral rate and by cost](quality_cost.png)", "", "![Quality task by task](tasks.png)", ""]
    return "\n".join(parts).encode()


def _print(numbers: summary.Summary, rows, warnings: list[str], console: Console):
    shown = [
        tables.main_table(numbers, detail=False),
        tables.task_table(numbers, rows),
        tables.rules_table(numbers),
        tables.strata_table(numbers),
    ]
    for table in filter(None, shown):
        render.print_table(table, console)
    for line in warnings:
        console.print(Text(f"Warning: {line}", "yellow"))
