"""`python -m paper_figs`: draw, list or check the figures and tables of the study."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.printing import replacing
from cat_keras.errors import CatKerasError

HOME = Path(__file__).parent


def paper_figs(
    results: Annotated[Path, typer.Option(help="Folder of results, one folder per run in it.")] = Path("results"),
    out: Annotated[Path, typer.Option(help="Where figures are written.")] = HOME / "out",
    only: Annotated[
        list[str] | None, typer.Option(help="A figure, or one drawing of it: quality_cost, nano/quality_cost.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what can be drawn, and what is missing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is stale.")] = False,
):
    """Draw every figure and table that the results can show."""
    from paper_figs import together
    from paper_figs.book import Book
    from paper_figs.figures import FIGURES
    from paper_figs.source import sources

    book = Book(FIGURES, sources(results))
    if list_:
        for job in book.jobs():
            typer.echo(job.name)
        _missing(book)
    elif check:
        _check(book, results, out, only or ())
    else:
        for name in together.written(results, out, only or ()):
            typer.echo(name)
        book.write_index(out)
        if not only:
            _missing(book)
        typer.echo(f"Everything is in {out}/, shown in {out}/README.md")


def _missing(book):
    """Says which figures no results can show, and what run would."""
    if book.imported:
        typer.echo(f"not drawn: {book.missing_of_imported()}")
        return
    for figure in book.missing():
        typer.echo(f"not drawn: {figure.name} wants {figure.wants}")


def _check(book, results: Path, out: Path, only):
    """Says what is stale, and exits with status 1 if anything is."""
    from paper_figs import together

    count = len(book.jobs(only))
    stale, unlike = list(together.stale(results, out, only)), book.unlike(out, only)
    stale += [] if only else book.foreign(out)
    for line in stale:
        typer.echo(line, err=True)
    if stale:
        typer.echo("Draw again: python -m paper_figs", err=True)
        raise typer.Exit(1)
    if unlike:
        typer.echo(f"Another matplotlib drew these, so that only their inputs were compared: {', '.join(unlike)}")
    typer.echo(f"{count} figures and tables are what the results give")


def main():
    """Runs the command line; bad input is one line on standard error and exit status 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(paper_figs)
    with replacing():
        try:
            app()
        except CatKerasError as error:
            typer.echo(f"error: {error}", err=True)
            sys.exit(2)


if __name__ == "__main__":
    main()
