"""Turns a drawing into files, the same bytes every time; each says which command made it from which inputs."""

import io
import json
import re
from importlib.metadata import version
from pathlib import Path

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from threadpoolctl import threadpool_limits

from benchmarks.report.plots import canvas
from benchmarks.report.tables import wording
from benchmarks.report.tables.render import Table, csv_bytes, markdown
from paper_figs import style
from paper_figs.figure import Job, Sheet

PREVIEW_DPI = 200
CANVASES = {"pdf": FigureCanvasPdf, "svg": FigureCanvasSVG, "png": FigureCanvasAgg}


def provenance(job: Job) -> dict:
    """What is embedded in every file: the command, the sha256 of each input, and what drew it."""
    return {
        "figure": job.name,
        "command": job.command,
        "inputs": job.inputs(),
        "matplotlib": version("matplotlib"),
    }


def files(job: Job) -> dict[str, bytes]:
    """Draws a job; path below the output folder → content."""
    origin = json.dumps(provenance(job), sort_keys=True)
    with style.applied(), threadpool_limits(1, "blas"):  # resamples share the cores already
        drawing = job.figure.draw(*job.sources)
        if job.figure.table and all(source.imported for source in job.sources):
            drawing = Sheet(wording.table(drawing.table), map(wording.record, drawing.records))
        contents = _sheet(drawing, origin) if job.figure.table else _pictures(job, drawing, origin)
    return {f"{job.name}.{kind}": content for kind, content in contents.items()}


def embedded(folder: Path, name: str) -> dict | None:
    """The provenance inside a drawing's files; None when neither its SVG nor its Markdown is there or says so."""
    for kind, pattern in (("svg", r"<dc:description>(.*?)</dc:description>"), ("md", r"<!-- (\{.*?\}) -->")):
        path = Path(folder) / f"{name}.{kind}"
        match = re.search(pattern, path.read_text(encoding="utf-8"), re.DOTALL) if path.is_file() else None
        if match:
            try:
                return json.loads(match[1])
            except json.JSONDecodeError:
                return None
    return None


def _pictures(job: Job, figure: matplotlib.figure.Figure, origin: str) -> dict[str, bytes]:
    predicted = (source for source, read in job.reads if "predictions.parquet" in read)
    missing = [cell for source in predicted for cell in source.run.missing]
    if missing:  # a figure is shown without its README, so it says itself what it lacks
        note = f"† incomplete: lacks {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        figure.suptitle(note, fontsize=style.SMALL, color=style.GREY)
    canvas.lay_out(figure)
    title = {"Title": job.name}
    # Matplotlib would write the date and its version, which change the bytes; the version is in the provenance.
    metadata = {
        "pdf": title | {"Keywords": origin, "Creator": None, "Producer": None, "CreationDate": None},
        "svg": title | {"Description": origin, "Creator": None, "Date": None},
        "png": title | {"Description": origin, "Software": None},
    }
    contents = {}
    for kind, backend in CANVASES.items():
        buffer = io.BytesIO()
        figure.dpi = PREVIEW_DPI  # the other kinds leave 72 there
        # `savefig` would draw twice, the first time for a layout.
        getattr(backend(figure), f"print_{kind}")(buffer, metadata=metadata[kind])
        contents[kind] = buffer.getvalue()
    return contents


def _sheet(sheet: Sheet, origin: str) -> dict[str, bytes]:
    """The files of a table. The CSV does not say where it is from, since readers of CSV know no comments."""
    return {
        "tex": f"% {origin}\n{tex(sheet.table)}".encode(),
        "md": f"<!-- {origin} -->\n\n{markdown(sheet.table)}".encode(),
        "csv": csv_bytes(sheet.records),
    }


_SPECIAL = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "Δ": r"$\Delta$", "†": r"$\dagger$", "–": "--", "…": r"\dots{}", "−": "$-$", "×": r"$\times$",
    "≥": r"$\geq$", "→": r"$\to$", "\n": " ",
}  # fmt: skip


def tex(table: Table) -> str:
    """The table as a `tabular` with booktabs rules; title and notes as comments, for the caption to use."""

    def line(cells) -> str:
        return " & ".join("".join(_SPECIAL.get(char, char) for char in cell) for cell in cells) + r" \\"

    head, rows = line(table.columns), [line(row) for row in table.rows]
    first = len(rows) - table.references
    body = [*rows[:first], *([r"\midrule"] if table.references and first else []), *rows[first:]]
    comments = [f"% {text}" for text in (table.title, *table.notes)]
    columns = "l" + "r" * (len(table.columns) - 1)
    opening = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*comments, *opening, *body, r"\bottomrule", r"\end{tabular}", ""])
