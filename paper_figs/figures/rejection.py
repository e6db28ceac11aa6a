"""Risk of a cascade that gives some questions no answer, by how many, with questions from elsewhere in its traffic."""

import math

from benchmarks.report.numbers import rejecting
from benchmarks.report.plots import rejection as panels
from benchmarks.report.reading import analysis
from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.source import Source

ROWS = "rejection.parquet"


def draw(source: Source):
    standings = rejecting.standings(analysis.read(source.folder / ROWS))
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
    pick=each(files=(ROWS,)),
    draw=draw,
    wants="questions from elsewhere: `python -m benchmarks reject RUN --elsewhere scrambled`",
    files=(ROWS,),
)
