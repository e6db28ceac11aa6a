"""Tables of many pairs of models, and the rows of `pairs.csv` and `correlations.csv`."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.report.numbers.pairs import MEASURES, OWN, PUBLIC, RESAMPLES, Correlation, Pair
from benchmarks.report.tables.render import NOTHING, Table, csv_bytes, number, text, with_interval

EVERY = "Every pair"
NAMES = {"lead": "lead", "auroc": "AUROC", "saving": "saving", "calls_saved": "calls saved", "s_d": "s_d"}
SHOWN = ("small", "lead", "s_d", "auroc", "saving", "calls_saved")
HEADERS = ("small alone", "lead", "s_d", "AUROC", "saving, %", "calls saved, %")
SCALE = {"small": 100, "lead": 100, "s_d": 1, "auroc": 1, "saving": 100, "calls_saved": 100}


def files(pairs: Sequence[Pair], correlations: Sequence[Correlation]) -> dict[str, bytes]:
    """`pairs.csv`, `correlations.csv`, and all tables as `table.md`."""
    return {
        "pairs.csv": csv_bytes(records(pairs)),
        "correlations.csv": csv_bytes(correlation_records(correlations)),
        "table.md": text(tables(pairs, correlations)),
    }


def tables(pairs: Sequence[Pair], correlations: Sequence[Correlation]) -> list[Table]:
    """What goes with what; each task in the median of its pairs; and every pair."""
    return [_correlations(correlations), _medians(pairs), _every(pairs)]


def records(pairs: Sequence[Pair]) -> list[dict]:
    """One row per pair, task and score."""
    return [
        {"kind": _kind(p), "source": p.source, "task": p.task, "small_model": p.small, "large_model": p.large}
        | {"score": p.score, "questions": p.questions, "seeds": p.seeds, "cost_ratio": p.ratio}
        | {"counted": int(p.counted)}
        | {f"{name}{end}": value for name in MEASURES for end, value in _ends(p, name)}
        for p in pairs
    ]  # fmt: skip


def _ends(pair: Pair, name: str) -> Iterator[tuple[str, float]]:
    return zip(("", "_low", "_high"), pair.interval(name), strict=True)


def correlation_records(correlations: Sequence[Correlation]) -> list[dict]:
    """One row per set of pairs, predictor and outcome; `models` is the same estimate, its interval over models too."""
    return [
        {"over": c.over, "predictor": c.predictor, "outcome": c.outcome, "pairs": c.pairs}
        | dict(zip(("estimate", "low", "high", "p"), (*c.questions, c.p), strict=True))
        | dict(zip(("models", "models_low", "models_high"), c.models, strict=True))
        for c in correlations
    ]


def _kind(pair: Pair) -> str:
    return OWN if pair.own else PUBLIC


def _correlations(correlations: Sequence[Correlation]) -> Table:
    rows = tuple(
        (
            f"{c.over}: {NAMES[c.predictor]} and {NAMES[c.outcome]}",
            str(c.pairs),
            with_interval(c.questions, scale=1),
            with_interval(c.models, scale=1),
        )
        for c in correlations
    )
    notes = (
        "Spearman's rank correlations over pairs of models, task by task, whose large model is ahead. In brackets: "
        f"95 % intervals of {RESAMPLES} bootstrap resamples of the questions, and of the seeds of this project's "
        "pairs; in the last column of questions and models, since pairs of language models share these.",
        "Saving: 1 minus the cost of the cascade that is as good as the large model alone, over the cost of that. An "
        "answer of a language model costs the parameters that a token passes through, where its maker states them; "
        "calls saved is the share of questions that the large model is not asked, for all pairs.",
    )
    return Table("What goes with what", ("", "pairs", "over questions", "over models too"), rows, notes=notes)


def _medians(pairs: Sequence[Pair]) -> Table:
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((_kind(pair), pair.source if pair.own else pair.task), []).append(pair)
    rows = []
    for (kind, name), every in groups.items():
        ahead = [pair for pair in every if pair.counted]
        medians = [_median(ahead, measure) for measure in SHOWN]
        rows.append((f"{kind}, {name}", f"{len(ahead)} of {len(every)}", *medians))
    notes = ("Medians over the pairs whose large model is ahead, and how many these are.",)
    return Table("Pairs by task, or by run of this project", ("", "pairs", *HEADERS), tuple(rows), notes=notes)


def _median(pairs: Sequence[Pair], measure: str) -> str:
    values = [v for v in (pair.values[measure][0] for pair in pairs) if not np.isnan(v)]
    return _shown(measure, float(np.median(values))) if values else NOTHING


def _every(pairs: Sequence[Pair]) -> Table:
    rows = tuple(
        (
            f"{p.source}, {p.task}: {p.small} → {p.large}, {p.score}",
            f"{p.questions:,}",
            *(_shown(name, float(p.values[name][0])) for name in SHOWN),
        )
        for p in pairs
    )
    return Table(EVERY, ("", "questions", *HEADERS), rows, notes=("Intervals are in `pairs.csv`.",))


def _shown(measure: str, value: float) -> str:
    return number(SCALE[measure] * value, 1 if SCALE[measure] == 100 else 2)
