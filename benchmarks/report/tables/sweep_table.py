"""Tables of a sweep, and the rows of `points.csv` and `regression.csv`."""

from collections.abc import Mapping, Sequence

from benchmarks.report.numbers.sweep import DIFFERENCES, RESAMPLES, Place, Slope, Standing
from benchmarks.report.tables.render import Table, csv_bytes, number, text, with_interval

SCALE = {"s_d": 1, "audc": 100, "small": 100}
LABELS = {"s_d": "Δ s_d", "audc": "Δ AUDC", "small": "Δ small alone"}


def files(standings: Sequence[Standing], facts: Mapping) -> dict[str, bytes]:
    """`points.csv`, `regression.csv`, and all tables as `table.md`."""
    return {
        "points.csv": csv_bytes(record for standing in standings for record in records(standing)),
        "regression.csv": csv_bytes(record for standing in standings for record in slope_records(standing)),
        "table.md": text(tables(standings, facts)),
    }


def tables(standings: Sequence[Standing], facts: Mapping) -> list[Table]:
    """For each difference the points, and then the regressions over them."""
    made = [_points(standing, facts) for standing in standings]
    return made + [_slopes(standing) for standing in standings if standing.slopes]


def records(standing: Standing) -> list[dict]:
    """One row per point."""
    return [
        {"method": standing.method, "versus": standing.versus}
        | dict(place.facts["axes"])
        | {"seeds": len(place.facts["seeds"])}
        | {f"parameters_{role}": count for role, count in place.facts["parameters"].items()}
        | dict(place.measured)
        | {f"{name}_level": value for name, value in place.levels.items()}
        | {
            f"{name}{end}": value
            for name in DIFFERENCES
            for end, value in zip(("", "_low", "_high"), place.interval(name), strict=True)
        }
        for place in standing.places
    ]


def slope_records(standing: Standing) -> list[dict]:
    """One row per coefficient."""
    return [
        {"method": standing.method, "versus": standing.versus, "response": s.response, "model": s.model}
        | {"predictor": s.predictor, "points": s.points}
        | dict(zip(("estimate", "low", "high", "p"), (*s.interval, s.p), strict=True))
        for s in standing.slopes
    ]


def _points(standing: Standing, facts: Mapping) -> Table:
    columns = ("headroom", "live", "AUROC", "s_d", "AUDC", *LABELS.values())
    lacking = [f"Not there yet: {len(facts['missing'])} points."] if facts["missing"] else []
    notes = (
        f"{standing.method} minus {standing.versus}, with 95 % intervals of a paired bootstrap over examples and "
        f"seeds, {RESAMPLES:,} resamples; qualities × 100. headroom (large minus small alone) and AUROC of the score "
        f"are those of {standing.versus} on validation data, live is the share of live tokens of {standing.method}; "
        f"s_d and AUDC are those of {standing.versus}.",
        *lacking,
    )
    rows = tuple((place.facts["name"], *_cells(place)) for place in standing.places)
    return Table(f"{standing.method} minus {standing.versus}, point by point", ("", *columns), rows, notes=notes)


def _cells(place: Place) -> tuple[str, ...]:
    measured, levels = place.measured, place.levels
    return (
        number(100 * measured["headroom"]), number(measured["live"], 2), number(measured["auroc"], 2),
        number(levels["s_d"], 2), number(100 * levels["audc"]),
        *(with_interval(place.interval(name), scale=SCALE[name]) for name in LABELS),
    )  # fmt: skip


def _slopes(standing: Standing) -> Table:
    rows = tuple(
        (f"{LABELS[s.response]} on {s.model}: {s.predictor}", str(s.points), _span(s)) for s in standing.slopes
    )
    notes = (
        "Least squares over the points. A slope is per unit of its predictor: shares, headroom and AUROC are of 1, "
        "capacity is the number of halvings from the large model to the small one. Intervals are over examples and "
        "seeds, the points as they are.",
    )
    return Table(f"{standing.method} minus {standing.versus}, regressions", ("", "points", "slope"), rows, notes=notes)


def _span(slope: Slope) -> str:
    return with_interval(slope.interval, scale=SCALE[slope.response])
