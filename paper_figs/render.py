"""A drawing → its files, the same bytes every time; each says which command made it from which inputs."""

import io
import json
import re
from importlib.metadata import version
from pathlib import Path

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.report.tables.render import Table, csv_bytes, markdown
from paper_figs import style
from paper_figs.figure import PICTURES, Job, Sheet

PREVIEW_DPI = 200


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
    with style.applied():
        drawn = job.figure.draw(*job.sources)
        made = _sheet(drawn, origin) if job.figure.table else _pictures(job, drawn, origin)
    return {f"{job.name}.{kind}": content for kind, content in made.items()}


def embedded(folder: Path, name: str) -> dict | None:
    """The provenance inside a drawing's files; None when neither its SVG nor its Markdown is there or says so."""
    for kind, pattern in (("svg", r"<dc:description>(.*?)</dc:description>"), ("md", r"<!-- (\{.*?\}) -->")):
        path = Path(folder) / f"{name}.{kind}"
        found = re.search(pattern, path.read_text(encoding="utf-8"), re.DOTALL) if path.is_file() else None
        if found:
            try:
                return json.loads(found[1])
            except json.JSONDecodeError:
                return None
    return None


def _pictures(job: Job, figure: matplotlib.figure.Figure, origin: str) -> dict[str, bytes]:
    predicted = (source for source, read in job.reads if "predictions.parquet" in read)
    missing = [cell for source in predicted for cell in source.run.missing]
    if missing:  # a figure is shown without its README, so it says itself what it lacks
        note = f"† incomplete: lacks {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        figure.suptitle(note, fontsize=style.SMALL, color=style.GREY)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # lays out once for all formats
    figure.set_layout_engine("none")
    title = {"Title": job.name}
    # A date or a version of matplotlib's own would change the bytes; the version that counts is in the provenance.
    metadata = {
        "pdf": title | {"Keywords": origin, "Creator": None, "Producer": None, "CreationDate": None},
        "svg": title | {"Description": origin, "Creator": None, "Date": None},
        "png": title | {"Description": origin, "Software": None},
    }
    made = {}
    for kind in PICTURES:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=metadata[kind], dpi=PREVIEW_DPI)
        made[kind] = buffer.getvalue()
    return made


def _sheet(sheet: Sheet, origin: str) -> dict[str, bytes]:
    """The CSV holds records alone: readers of CSV know no comments."""
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


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in text)


def tex(table: Table) -> str:
    """The table as a `tabular` with booktabs rules; title and notes as comments, for the caption to use."""
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    first = len(rows) - table.references
    body = [*rows[:first], *([r"\midrule"] if table.references and first else []), *rows[first:]]
    comments = [f"% {line}" for line in (table.title, *table.notes)]
    head = " & ".join(map(_escaped, table.columns)) + r" \\"
    columns = "l" + "r" * (len(table.columns) - 1)
    opening = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*comments, *opening, *body, r"\bottomrule", r"\end{tabular}", ""])
