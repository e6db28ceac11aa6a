"""What the charts of the HTML report draw, as JSON-able values of bounded size."""

import base64
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.report.numbers import rules
from benchmarks.report.numbers.cells import ORACLE, RANDOM, Cell
from benchmarks.report.numbers.scopes import Curves, Scope
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.plots.palette import place
from benchmarks.report.reading.load import START, Columns
from cat_keras.evaluation.bands import Band

METHODS = 14  # that are drawn; the tables have all
EVERY = 2  # a curve has every second point of `bands.GRID`
ANSWERS = 250_000  # rows of the explorer, one per answer and rule; larger runs show an even sample of their examples
SAMPLE, SAMPLES = 40, 1200  # examples shown with their texts: per task, and in all
PROMPT, ANSWER = 320, 200  # characters of such a prompt, and of a target or an answer


def charts(summary: Summary, curves: Curves, scopes: list[Scope], training: dict, share: int = 1) -> dict:
    """Everything for the script of the page.

    Args:
        summary, curves: of the run. scopes: to choose from. training: method → (steps, share of live tokens).
        share: how many runs share the page, and so its size.
    """
    run = summary.run
    methods = run.methods[:METHODS]
    charts_of_scopes = [_scope(summary, curves, scope, methods) for scope in scopes if scope.tasks]
    tasks = [_task(summary, curves, name, methods, share) for name in run.covered]
    looks = {name: index for name, index in place(run.methods).items() if name in methods}
    return {
        "methods": list(methods),
        "looks": looks | {RANDOM: -1, ORACLE: -2, START: -3},
        "baseline": summary.baseline,
        "rule": run.rule,
        "member": "Seed",
        "rules": [name for name in rules.names(run) if name != ORACLE],
        "kinds": [kind._asdict() for kind in curves.kinds.values()],
        "scopes": [chart for chart in charts_of_scopes if chart["lines"]],
        "training": [
            {"name": name, "step": list(steps), "live": _rounded(live)}
            for name, (steps, live) in training.items()
            if name in methods
        ],
        "explorer": [task for task in tasks if task["methods"]],
    }


def _rounded(values: Iterable[float]) -> list[float]:
    """Five significant digits, finer than a screen shows."""
    return [float(f"{value:.5g}") for value in values]


def _scope(summary: Summary, curves: Curves, scope: Scope, methods: Sequence[str]) -> dict:
    """The lines of one chart: every method, the start, and the baseline deferred by the two bounds."""
    lines = [_line(summary, curves, scope, name, name) for name in methods]
    if START in {method for method, _, _ in summary.cells}:
        lines.append(_line(summary, curves, scope, START, START))
    lines += [_line(summary, curves, scope, rule, summary.baseline, rule) for rule in (RANDOM, ORACLE)]
    columns = ("quality", *curves.kinds)
    return {
        "label": scope.label,
        "note": _note(summary, curves, scope, methods),
        "lines": [line for line in lines if line],
        "large": {name: float(f"{curves.large(scope, name):.5g}") for name in columns},
    }


def _line(summary: Summary, curves: Curves, scope: Scope, name: str, method: str, rule: str = "") -> dict | None:
    columns = {column: curves.mean(method, scope, column, rule) for column in ("quality", *curves.kinds)}
    if columns["quality"] is None:
        return None
    line = {"name": name} | {column: _rounded(values[::EVERY]) for column, values in columns.items()}
    if rule or method == START:
        return line
    band = curves.band(method, scope)
    delta = None if method == summary.baseline else curves.band(method, scope, summary.baseline)
    line |= _limits(band) if band else {}
    line |= {"delta": {"quality": _rounded(delta.estimate[::EVERY])} | _limits(delta)} if delta else {}
    return line


def _limits(band: Band) -> dict:
    return {"low": _rounded(band.low[::EVERY]), "high": _rounded(band.high[::EVERY])}


def _note(summary: Summary, curves: Curves, scope: Scope, methods: Sequence[str]) -> str:
    whole = f"Mean of {len(scope.tasks)} tasks" if len(scope.tasks) > 1 else "One task"
    seeds = (
        "examples and seeds" if len(summary.run.seeds) > 1 else "examples; one seed, so not what another would change"
    )
    lacking = [name for name in methods if curves.incomplete(name, scope)]
    holes = f" † Lacking a task or seed: {', '.join(lacking)}." if lacking else ""
    return (
        f"{whole}, each deferring by {summary.run.rule}. Bands: pointwise 95 % intervals, bootstrap over {seeds}. "
        f"random, oracle: the answers of {summary.baseline}, deferred in other orders.{holes}"
    )


def _task(summary: Summary, curves: Curves, name: str, methods: Sequence[str], share: int) -> dict:
    """What the explorer shows of a task: the numbers of a sample of its examples, and the texts of fewer of them."""
    run, cells = summary.run, {}
    for method in methods:
        seeds = [seed for seed in run.seeds if (method, seed, name) in summary.cells]
        if seeds:
            cells[method] = summary.cells[method, seeds[0], name]
    total = len(run.examples[name])
    limit = ANSWERS // share // max(1, len(run.covered) * len(methods) * len(rules.names(run)))
    rows = _even_sample(total, max(limit, SAMPLE))
    with_text = _even_sample(len(rows), max(1, min(SAMPLE, SAMPLES // share // len(run.covered))))
    note = f"{total} examples." if len(rows) == total else f"An even sample of {len(rows)} of {total} examples."
    return {
        "name": name,
        "note": note,
        "bar": run.bars[name] if cells else 0.5,
        "large": _numbers(curves, "large", run.large[name], rows),
        "methods": {method: _cell(curves, cell, rows) for method, cell in cells.items()},
        "examples": [_example(summary, cells, name, at, rows[at]) for at in with_text.tolist()],
    }


def _even_sample(total: int, limit: int) -> np.ndarray:
    """At most `limit` of `total` positions, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, limit)).round().astype(int))


def _numbers(curves: Curves, model: str, answers: Columns, rows: np.ndarray) -> dict[str, str]:
    return {name: _packed(curves.column(model, answers, name)[rows]) for name in ("quality", *curves.kinds)}


def _cell(curves: Curves, cell: Cell, rows: np.ndarray) -> dict:
    known = [r for r in rules.names(cell.run) if r != ORACLE and not rules.lacking(cell.run, r, (cell.task,))]
    usable = [r for r in known if cell.has(r)]
    scores = {rule: _packed(cell.score(rule)[rows]) for rule in usable}
    return {"seed": cell.seed, "scores": scores} | _numbers(curves, "small", cell.small, rows)


def _packed(values: np.ndarray) -> str:
    """Little-endian float32 as base64; clipped, since the score of an empty answer is beyond float32."""
    return base64.b64encode(np.clip(values, -3e38, 3e38).astype("<f4").tobytes()).decode()


def _example(summary: Summary, cells: Mapping[str, Cell], name: str, at: int, row: int) -> dict:
    """An example with its texts, where the run has them; `at`: its position among the packed rows."""
    example = summary.run.examples[name][int(row)]
    labels = {"at": at, "id": example.id, "group": example.group}
    if not summary.run.has_text:
        return labels
    return labels | {
        "prompt": shortened(example.prompt, PROMPT),
        "target": shortened(example.target, ANSWER),
        "large": shortened(summary.run.large[name]["text"][row], ANSWER),
        "answers": {method: shortened(cell.small["text"][row], ANSWER) for method, cell in cells.items()},
    }


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters: of a long text its beginning and its end, since prompts end with the question."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    head, end = text[: limit - tail - 3], text[len(text) - tail :]
    return f"{head.rsplit(' ', 1)[0]} … {end.split(' ', 1)[-1]}"  # whole words, where there are blanks
