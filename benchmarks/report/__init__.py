"""The report of a run: tables, plots and an HTML page, from its predictions alone. Loads no model and no TensorFlow.

Its folders are the steps of making it, and a step uses only those above it:

    reading/            a run folder becomes a checked `Run`
    numbers/            averages, intervals, comparisons and warnings are computed from the `Run`
    tables/, plots/     the numbers are laid out as tables and drawn as plots
    page/               tables and plots become the files of the report, its HTML page, and its short form in print

`page.contents.Contents` takes a `Run` through all steps after reading. The same folder gives the same bytes.
"""

from collections.abc import Sequence
from functools import wraps
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

from benchmarks.report.numbers.costs import Prices
from benchmarks.report.page import html, record
from benchmarks.report.page.contents import Contents
from benchmarks.report.reading import load
from cat_keras.storage import store


def _on_own_threads(function):
    """The function with matrix products on a single thread each: resamples share the cores already, and threads of
    products would wait beside them."""

    @wraps(function)
    def limited(*arguments, **named):
        with threadpool_limits(1, "blas"):
            return function(*arguments, **named)

    return limited


@_on_own_threads
def build(
    run_dir: Path, console: Console, prices: Prices | None = None, verbose: bool = False, again: bool = True
) -> Path:
    """Writes the report of a finished run into its folder and prints the short form.

    Args:
        run_dir: a run folder, see `load`. console: where tables and warnings are printed.
        prices: of tokens, see `costs.prices`; without them nothing is said in money.
        verbose: print every table and warning, not one screen.
        again: compute it also where it lies there already, of the same inputs and made by the same code.

    Returns:
        `table.md`, beside which `report.html`, the CSV files and the plots lie.

    Raises:
        CatKerasError: the folder is not a finished run or a file of it is damaged.
    """
    folder = Path(run_dir)
    key = "" if again or prices else record.inputs(folder, console, verbose)
    if not (key and record.shown_again(folder, key, console)):
        contents = Contents(load.load(folder), prices)
        made = contents.files()
        _write(folder, made)
        if key:
            with console.capture() as screen:
                contents.print(console, verbose)
            record.write(folder, key, made, screen.get())
            record.shown_again(folder, key, console)
        else:
            contents.print(console, verbose)
    return folder / "table.md"


@_on_own_threads
def build_many(
    run_dirs: Sequence[Path], out: Path, console: Console, prices: Prices | None = None, verbose: bool = False
) -> Path:
    """Writes the report of every run into its own folder, and all of them into one page, a section each.

    Args:
        run_dirs, console, prices, verbose: as in `build`. out: the folder that gets `report.html`.

    Returns:
        The page.

    Raises:
        CatKerasError: as `build`, or two runs contradict each other.
    """
    sections = []
    for folder, run in zip(run_dirs, load.load_all(run_dirs), strict=True):
        contents = Contents(run, prices)
        _write(Path(folder), contents.files())
        contents.print(console, verbose)
        sections.append(contents.section(len(run_dirs)) | {"name": _section_name(folder, run_dirs)})
    page = Path(out) / "report.html"
    store.write_bytes(page, html.page(f"Report of {len(sections)} runs", sections))
    return page


@_on_own_threads
def files(run: load.Run, prices: Prices | None = None, drawn: bool = True) -> dict[str, bytes]:
    """File name → content of everything that `build` writes; with `drawn=False` of the tables alone, a quick part."""
    return Contents(run, prices).files(drawn)


def _section_name(folder: Path, run_dirs: Sequence[Path]) -> str:
    """The folder's name; with its parent's where two folders have the same one."""
    names = [Path(other).resolve().name for other in run_dirs]
    path = Path(folder).resolve()
    return path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"


def _write(folder: Path, files: dict[str, bytes]):
    for name, content in files.items():
        store.write_bytes(folder / name, content)
