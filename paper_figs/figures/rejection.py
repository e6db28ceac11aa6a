"""Risk of a cascade that gives some questions no answer, by how many, with questions from elsewhere in its traffic."""

import math

import pyarrow.parquet

from benchmarks.report.numbers import rejecting
from benchmarks.report.plots import rejection as panels
from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source

ROWS = "rejection.parquet"


def pick(sources):
    return [(source,) for source in sources if source.has(ROWS)]


def draw(source: Source):
    standings = rejecting.standings(pyarrow.parquet.read_table(source.folder / ROWS))
    places = list(dict.fromkeys(place for place, _, _ in standings))
    method = next(iter(standings))[1]
    columns = min(3, len(places))
    rows = math.ceil(len(places) / columns)
    figure, axes = style.canvas(rows, columns, width=style.PAGE, height=2.0 * rows + 0.4)
    for axis, place in zip(axes.flat, places, strict=False):
        panels.panel(axis, standings, place, method)
        axis.set(title=place, xlabel="rejected, % of all questions")
    for axis in axes.flat[len(places) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set(ylabel="joint risk × 100")
    style.legend(figure, axes[0, 0], columns=6)
    return figure


FIGURE = Figure(
    name="rejection",
    caption="Joint risk (× 100) of what is kept, by the share of questions that get no answer: wrong answers to own "
    "questions and questions from elsewhere that are answered, weighted. Each panel mixes in questions from another "
    "place. Bands are 95 % intervals over questions and seeds.",
    pick=pick,
    draw=draw,
    wants="questions from elsewhere: `python -m benchmarks reject RUN --elsewhere scrambled`",
    files=(ROWS,),
)
