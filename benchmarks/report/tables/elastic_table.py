"""The table of the sizes of an elastic small model, and the rows of `elastic.csv`."""

from collections.abc import Iterator

from benchmarks.report.numbers.elastic import Dial, Standing
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.tables.render import NOTHING, Table, number, with_interval

COLUMNS = (
    "method",
    "FLOPs × 10⁶",
    "quality × 100",
    "minus the size\ntrained alone",
    "best cascade at\nequal FLOPs",
    "minus the\ncascade",
)


def table(dial: Dial | None) -> Table | None:
    """None for a run without elastic methods."""
    if dial is None:
        return None
    rows = [
        (
            s.method,
            number(s.flops / 1e6, 2),
            _quality(s.quality),
            with_interval(s.sharing) if s.sharing else NOTHING,
            _quality(s.cascade) if s.cascade else NOTHING,
            with_interval(s.against_cascade) if s.against_cascade else NOTHING,
        )
        for s in dial.standings
    ]
    large = (("large alone", number(dial.large[0] / 1e6, 2), number(100 * dial.large[1], 2), "", "", ""),)
    notes = (
        "A small model at several sizes, each answering alone: elastic sizes are parts of one set of weights that was "
        "trained at all of them together; static ones were each trained alone, from the same start with as many steps. "
        "The definition is ours, after the abstract of ElasticLM (arXiv 2311.07204) and MatFormer (2310.07707).",
        "Cascade: the best of the smaller sizes of the kind with the large model, by the deferral rule of the run, "
        "where its mean FLOPs equal those of the size. FLOPs are per query. Intervals: 95 %, over examples and seeds.",
    )
    return Table("Sizes of the elastic small model", COLUMNS, (*rows, *large), references=1, notes=notes)


def _quality(interval) -> str:
    return f"{100 * interval.estimate:.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def records(dial: Dial) -> Iterator[Record]:
    """The rows of `elastic.csv`."""
    for s in dial.standings:
        yield {"method": s.method, "kind": s.kind, "size": s.size, "flops": s.flops} | _ends(s)


def _ends(standing: Standing) -> Record:
    intervals = {name: getattr(standing, name) for name in ("quality", "sharing", "cascade", "against_cascade")}
    return {
        f"{name}{suffix}": getattr(interval, end) if interval else None
        for name, interval in intervals.items()
        for suffix, end in (("", "estimate"), ("_low", "low"), ("_high", "high"))
    }
