"""Tables of policies under load; what they are computed from is in `benchmarks.serving`."""

from collections.abc import Sequence

from benchmarks.report.tables.render import NOTHING, Table, with_interval


def table(records: Sequence[dict], stream: str, reference: str, promise: str = "") -> Table:
    """The policies at the rate at which the fixed cascade breaks and at twice that.

    Args:
        records: one per policy and rate: policy, times, rate, quality, p50, p99, in_time, answered, holds, minus with
            its interval, and the budget. stream: name of the trace. reference: policy that is subtracted.
        promise: a sentence about the quality that every policy keeps.
    """
    budget = 1000 * records[0]["budget"]
    once, twice = ({r["policy"]: r for r in records if r["times"] == times} for times in (1.0, 2.0))
    rows = [
        (name, f"{100 * a['quality']:.1f}", _tail(a), f"{100 * b['quality']:.1f}", f"{1000 * b['p50']:.0f}", _tail(b),
         f"{100 * b['in_time']:.1f}", f"{100 * b['answered']:.1f}", _minus(b) if name != reference else NOTHING)
        for (name, a), b in zip(once.items(), twice.values(), strict=True)
    ]  # fmt: skip
    rates = [next(iter(each.values()))["rate"] for each in (once, twice)]
    return Table(
        f"Under load: {stream}, at {rates[0]:.3g} and {rates[1]:.3g} requests a second",
        ("Policy", "Quality", "p99, ms", "Quality,\ntwice", "p50, ms", "p99, ms", "In time,\n%", "Answered,\n%",
         f"Minus {reference} at 1×"),
        tuple(rows),
        notes=(
            f"Columns 4 to 9 are at twice the rate. Quality × 100 of the answers given. *: 99th percentile above "
            f"the budget of {budget:.0f} ms. In time: share of all requests that were answered within it. The last "
            "column subtracts the fixed cascade at the lower rate and counts who got no answer as 0; in brackets a "
            f"95 % interval, bootstrap over examples and blocks of time.{promise and ' ' + promise}",
        ),
    )  # fmt: skip


def _tail(record: dict) -> str:
    mark = "*" if record["p99"] > record["budget"] else ""
    return f"{1000 * record['p99']:.0f}{mark}"


def _minus(record: dict) -> str:
    return with_interval((record["minus"], record["minus_low"], record["minus_high"]), digits=1)


def real_table(records: Sequence[dict]) -> Table:
    """Real models beside the simulation: a row per policy."""
    rows = [
        (r["policy"], f"{r['requests']}", f"{r['rate']:.3g}", *_both(r, "p50"), *_both(r, "p99"), f"{r['pace']:.2f}",
         f"{100 * r['real_quality']:.1f}", f"{100 * r['simulated_quality']:.1f}", f"{100 * r['as_stored']:.1f}")
        for r in records
    ]  # fmt: skip
    return Table(
        "Real models in this process, and the simulation of the same requests",
        ("Policy", "Requests", "Rate", "p50, ms,\nreal", "simulated", "at pace", "p99, ms,\nreal", "simulated",
         "at pace", "Pace", "Quality,\nreal", "simulated", "As stored,\n%"),
        tuple(rows),
        notes=(
            "Beside simulated latencies, how far off they are. Pace: seconds of the real batches over those that "
            "batches of their sizes were measured to take; at pace: simulated with the latencies of each model times "
            "its pace. As stored: answers that say what the run stored.",
        ),
    )  # fmt: skip


def _both(record: dict, name: str) -> tuple[str, str, str]:
    real, values = record[f"real_{name}"], (record[f"simulated_{name}"], record[f"at_pace_{name}"])
    return f"{1000 * real:.0f}", *(f"{1000 * value:.0f} ({100 * (value / real - 1):+.0f} %)" for value in values)
