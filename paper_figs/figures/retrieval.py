"""Students of a retriever, one part of EmbedDistill after the other, and reranking as a cascade."""

from benchmarks.report.numbers import retrieval
from benchmarks.report.plots import retrieval as panels
from benchmarks.report.reading import analysis
from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.source import Source

ROWS = "retrieval.parquet"


def draw(source: Source):
    table = analysis.read(source.folder / ROWS)
    standings, facts = retrieval.standings(table), retrieval.facts(table)
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=2.4)
    panels.staircase(axes[0, 0], standings, facts)
    panels.curves(axes[0, 1], standings, facts)
    style.legend(figure, axes[0, 1], columns=4)
    return figure


FIGURE = Figure(
    name="retrieval",
    caption="Left: mean reciprocal rank (× 100) of students, each with one more part of EmbedDistill; the dashed line "
    "is the teacher. Right: the same over FLOPs per query as a ranker reads more of the documents that were found; "
    "numbers beside the points say how many. 95 % intervals over test queries.",
    pick=each(files=(ROWS,)),
    draw=draw,
    wants="a retrieval run: `python -m benchmarks retrieve --data DIR`",
    files=(ROWS,),
)
