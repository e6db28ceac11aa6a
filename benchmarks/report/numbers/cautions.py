"""What a reader must know before believing a table."""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.report.numbers.summary import Summary

FEW_LIVE = 0.5
SAME_WORK, SAME_TIME = 1.05, 1.5  # how far apart, at most


def sentences(summary: Summary) -> list[str]:
    """Sentences, the gravest first; empty when there is nothing to say."""
    noted = (summary.run.manifest["imported"].get("warnings") or []) if summary.run.imported else []
    found = (_holes, _weak_teacher, _dropped_tokens, _clock, _cut)
    return [*noted, *(line for each in found for line in each(summary))]


def _holes(summary: Summary) -> Iterator[str]:
    run = summary.run
    if run.missing:
        shown = ", ".join(run.missing[:12]) + (", …" if len(run.missing) > 12 else "")
        yield f"Missing: {shown} ({len(run.missing)} in all). Averages that lack them are marked †."
    if run.extra:
        yield f"Left out: predictions of {', '.join(run.extra)}, which the manifest does not name as methods."


def _weak_teacher(summary: Summary) -> Iterator[str]:
    """Tasks on which deferring cannot pay, judged by the baseline's mean over its seeds."""
    run = summary.run
    for name in run.covered:
        cells = [cell for (method, _, t), cell in summary.cells.items() if (method, t) == (summary.baseline, name)]
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
    """Times that differ where the work does not: the clock has seen something else than the models."""
    flops, seconds = {}, {}
    for (method, _, _), cell in summary.cells.items():
        flops.setdefault(method, []).append(cell.small["flops"].mean())
        seconds.setdefault(method, []).append(cell.small["seconds"].mean())
    work, time = ([float(np.mean(values)) for values in column.values()] for column in (flops, seconds))
    if work and min(time) > 0 and max(work) <= SAME_WORK * min(work) and max(time) > SAME_TIME * min(time):
        yield (
            f"Measured seconds of small models that do the same work differ {max(time) / min(time):.1f}-fold: "
            "the clock saw other load, or compilation. Do not compare methods by them."
        )


def _cut(summary: Summary) -> Iterator[str]:
    manifest = summary.run.manifest
    encoded = manifest.get("encoded") or {}
    counts = {name.replace("_", " "): encoded.get(name, 0) for name in ("prompts_cut", "targets_too_long")}
    counts |= dict(_counts(manifest.get("truncated")))
    cut = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if cut:
        yield f"Did not fit the context: {cut}."


def _counts(value, name: str = "") -> Iterator[tuple[str, int]]:
    """Numbers of a nested mapping by their path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _counts(inner, f"{name}/{key}".strip("/"))
    elif isinstance(value, int | float):
        yield name or "prompts cut", value
