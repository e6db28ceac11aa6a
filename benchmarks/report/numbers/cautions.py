"""The warnings of a report: what a reader must know before believing a table."""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.report.numbers import few
from benchmarks.report.numbers.summary import Summary

FEW_LIVE = 0.5  # share of live target tokens below which a method is warned of
# Small models with FLOPs within the first factor do the same work; their times should lie within the second one.
SAME_WORK, SAME_TIME = 1.05, 1.5


def sentences(summary: Summary) -> list[str]:
    """The warnings, one sentence each, the most serious first; empty when there is nothing to warn of."""
    imported = summary.run.manifest["imported"].get("warnings") or [] if summary.run.imported else []
    return [
        *imported,
        *_holes(summary),
        *_overlap(summary),
        *few.sentences(summary.run),
        *_weak_teacher(summary),
        *_dropped_tokens(summary),
        *_clock(summary),
        *_cut_examples(summary),
        *_left_out(summary),
    ]


def _holes(summary: Summary) -> Iterator[str]:
    run = summary.run
    if run.missing:
        names = ", ".join(run.missing[:12]) + (", …" if len(run.missing) > 12 else "")
        yield f"Missing: {names} ({len(run.missing)} in all). Averages that lack them are marked †."
    if run.extra:
        yield f"Left out: predictions of {', '.join(run.extra)}, which the manifest does not name as methods."


def _overlap(summary: Summary) -> Iterator[str]:
    """Tasks some of whose test rows the models were trained on, under another id."""
    for name, shared in (summary.run.manifest.get("overlap") or {}).items():
        yield (
            f"{name}: of {shared['rows']:,} test rows {shared['exact']:,} are training rows too, "
            f"{shared['normalised']:,} up to case, blanks and punctuation: its quality is partly remembered."
        )


def _weak_teacher(summary: Summary) -> Iterator[str]:
    """Tasks on which deferring cannot pay, since the large model is no better than the baseline's mean over seeds."""
    run = summary.run
    for name in run.covered:
        cells = [cell for (method, _, of), cell in summary.cells.items() if (method, of) == (summary.baseline, name)]
        if not cells:
            continue
        small = float(np.mean([cell.small["quality"].mean() for cell in cells]))
        large = float(run.large[name]["quality"].mean())
        if large <= small:
            yield (
                f"{name}: the large model is not better than the small one ({100 * large:.1f} against "
                f"{100 * small:.1f}, {summary.baseline}): a cascade has nothing to offer there."
            )


def _dropped_tokens(summary: Summary) -> Iterator[str]:
    for row in summary.rows:
        if row.live.mean < FEW_LIVE:
            yield (
                f"{row.name}: only {row.live.mean:.0%} of the target tokens were live in training; "
                "it learned from less than half of the data."
            )


def _clock(summary: Summary) -> Iterator[str]:
    """Methods whose times differ although their work does not: the clock measured something besides the models."""
    flops, seconds = {}, {}
    for (method, _, _), cell in summary.cells.items():
        flops.setdefault(method, []).append(cell.small["flops"].mean())
        seconds.setdefault(method, []).append(cell.small["seconds"].mean())
    work = [float(np.mean(values)) for values in flops.values()]
    time = [float(np.mean(values)) for values in seconds.values()]
    if work and min(time) > 0 and max(work) <= SAME_WORK * min(work) and max(time) > SAME_TIME * min(time):
        yield (
            f"Measured seconds of small models that do the same work differ {max(time) / min(time):.1f}-fold: "
            "the clock saw other load, or compilation. Do not compare methods by them."
        )


def _cut_examples(summary: Summary) -> Iterator[str]:
    manifest = summary.run.manifest
    encoded = manifest.get("encoded") or {}
    counts = {
        name.replace("_", " "): encoded.get(name, 0) for name in ("prompts_cut", "prompts_overlong", "targets_too_long")
    }
    counts |= dict(_counts(manifest.get("truncated")))
    text = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if text:
        yield f"Did not fit the context: {text}."


def _left_out(summary: Summary) -> Iterator[str]:
    for split, tasks in (summary.run.manifest.get("left_out") or {}).items():
        counts = ", ".join(f"{name} {count:,}" for name, count in tasks.items())
        yield f"Bad rows were left out of {split}: {counts}."


def _counts(value, name: str = "") -> Iterator[tuple[str, int]]:
    """Numbers of a nested mapping, each with the path of its keys; a number alone counts prompts."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _counts(inner, f"{name}/{key}".strip("/"))
    elif isinstance(value, int | float):
        yield name or "prompts cut", value
