"""Quality of policies under load, by the rate of the requests and by the 99th percentile of their latency."""

import csv

from benchmarks.report.plots import load as panels
from benchmarks.serving import records
from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.source import Source


def draw(source: Source):
    with (source.folder / records.FILE).open(encoding="utf-8", newline="") as file:
        rows = [records.parsed(row) for row in csv.DictReader(file)]
    streams = list(dict.fromkeys(row["stream"] for row in rows))
    figure, axes = style.canvas(len(streams), 2, width=style.PAGE, height=2.1 * len(streams) + 0.5)
    for (left, right), stream in zip(axes, streams, strict=True):
        own = [row for row in rows if row["stream"] == stream]
        panels.by_rate(left, own)
        panels.by_latency(right, own, "p99")
        left.set(title=stream, ylabel="quality × 100")
        right.set(title=f"budget {1000 * own[0]['budget']:.0f} ms", ylabel="")
    style.legend(figure, axes[0, 0], columns=8)
    return figure


FIGURE = Figure(
    name="load",
    caption="Quality of all requests (× 100; who got no answer counts as 0) under load, by the rate of the requests "
    "and by the 99th percentile of their latency, simulated from measured latencies. A ring marks where the 99th "
    "percentile is above the budget, the dotted line. Knobs were fitted on another stream and on other examples. One "
    "seed.",
    pick=each(files=(records.FILE,)),
    draw=draw,
    wants="policies under load: `python -m benchmarks load RUN --trace FILE`",
    files=(records.FILE,),
)
