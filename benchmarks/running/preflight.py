"""What a run needs, looked at before its first training: arguments, metrics, packages, room on the disk, and the rows
as the run's own tokenizer sees them."""

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning import plan
from benchmarks.planning.estimate import Estimate
from benchmarks.planning.findings import BadInput, Finding
from benchmarks.tasks import loading, task
from cat_keras.data.chat import Turn
from cat_keras.data.records import Example
from cat_keras.decoding.answerable import unanswerable
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

JUDGED = 100_000  # characters of each task's examples that its metric tries
TRIED = 20  # examples on all of which a metric fails that cannot judge
FILE = "bad_rows.json"


def check(todo: plan.Plan, bench, missing: list[plan.Model], logs: Sequence[str], places: Callable) -> list[Finding]:
    """The rows that no model can be given, which the profile leaves out.

    Args:
        todo: the plan of all test rows. bench: a `Workbench` of it. missing: the models that are to be made.
        logs: names of the logs that are asked for. places: (task, split) → a function from ids to places, see
            `loading.place_of`.

    Raises:
        BadInput: everything that stands against the run.
    """
    unusable = list(_metrics(todo))
    findings = [*_arguments(todo), *_logs(logs), *unusable, *_disk(todo, bench.store, missing)]
    findings += _endpoint(bench, missing)
    if unasked := list(_asking(todo, bench)):
        raise BadInput(findings + unasked)  # no row can be looked at
    # What is kept in the cache is complete, which it is not without a metric.
    if unusable:
        bad = list(_bad_rows(todo, bench.turn_of_run(), {finding.task for finding in unusable}))
    else:
        bad = rows(todo, bench.store, bench)
    if todo.profile.data.bad_rows == "error":
        findings += [row._replace(place=_place(row, places)) for row in bad]
    if findings:
        raise BadInput(findings)
    return bad


def rows(todo: plan.Plan, cache: store.Store, bench=None) -> list[Finding] | None:
    """The rows that no model can be given; looked for once, and then kept in the cache.

    Args:
        bench: what to look for them with; without it, None is returned where nobody has looked yet.
    """
    key = todo.checks
    if bench is None and not cache.has("checks", key):
        return None

    def build(folder: Path):
        found = list(_bad_rows(todo, turn))
        store.write_json(folder / FILE, [list(row) for row in found])
        return {"bad_rows": len(found)}

    turn = bench and bench.turn_of_run()  # made by all workers; `build` runs on the chief alone
    return [Finding(*row) for row in store.read_json(cache.get("checks", key, build) / FILE)]


def _bad_rows(todo: plan.Plan, turn: Turn, unusable: Set[str] = frozenset()) -> Iterator[Finding]:
    """The rows themselves; the metrics of the tasks named `unusable` judge none."""
    data = todo.profile.data
    test = list(todo.test)
    refused = {}
    for index, problem in unanswerable(test, turn, data.max_length):
        refused[test[index].task, test[index].id] = Finding(
            "", problem, test[index].task, data.evaluate, test[index].id
        )
    unjudged = (row for row in _unjudged(todo) if row.task not in unusable)
    yield from (refused | {(row.task, row.id): row for row in unjudged if (row.task, row.id) not in refused}).values()
    # A target with a letter or digit has a token, and so has a prompt; only the others are tokenized here.
    suspects = [e for e in todo.train if not (_has_word(e.target) and _has_word(e.prompt))]
    for index, problem in untrainable(suspects, turn):
        yield Finding("", problem, suspects[index].task, "train", suspects[index].id)


def untrainable(examples: Sequence[Example], turn: Turn) -> list[tuple[int, str]]:
    """(index, problem) of the examples that cannot be encoded for training, whatever the context."""
    prompts, targets = turn.ids([e.prompt for e in examples]), turn.data([e.target for e in examples])
    problems = []
    for index, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        if not target:
            problems.append((index, f"A target has at least one token. Received: {examples[index].target!r:.80}"))
        elif not prompt and not turn.before:
            problems.append((index, f"A prompt has at least one token. Received: {examples[index].prompt!r:.80}"))
    return problems


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def _place(row: Finding, places: Callable) -> str:
    return places(row.task, row.split)(row.id)


def places(todo: plan.Plan, data, source: str) -> Callable[[str, str], Callable[[str], str]]:
    """A function from the names of a task and a split to a function from ids to places; it opens each file once."""
    unasked = task.select(todo.profile.data.train_only)
    tasks, opened = {t.name: t for t in (*todo.tasks, *unasked)}, {}

    def of(name: str, split: str):
        if (name, split) not in opened:
            opened[name, split] = loading.place_of(tasks[name], split, data, source or todo.profile.data.source)
        return opened[name, split]

    return of


def _arguments(todo: plan.Plan) -> Iterator[Finding]:
    """Methods whose objective does not take its arguments, or wants other columns of the teacher than there are."""
    from cat_keras.training import losses

    for method in todo.profile.methods:
        objective, arguments = todo.profile.objective_of(method)
        try:
            loss = losses.get(objective, **arguments)
        except CatKerasError as error:
            yield Finding(f"method {method}", str(error))
            continue
        if "teacher_probs" in loss.columns and getattr(loss, "temperature", 1.0) != 1:
            yield Finding(
                f"method {method}",
                "The large model's probabilities are stored once for all methods, at temperature 1. Received: "
                f"{loss.temperature:g}. Leave temperature out, or distil with a cache of your own (ck.TeacherCache)",
            )


def _asking(todo: plan.Plan, bench) -> Iterator[Finding]:
    """A chat that the tokenizer does not know, or that leaves no room for a prompt."""
    data = todo.profile.data
    bench.tokenizer_of_run()  # an error of its model is none of the chat
    try:
        turn = bench.turn_of_run()
    except CatKerasError as error:
        yield Finding("data.chat", str(error))
        return
    room = turn.room(data.max_length - data.max_new_tokens) - turn.least
    if room < 0 and not all(example.options for example in todo.test):
        yield Finding(
            "data.max_length",
            "A context has room for the answer and for what stands around a prompt. Received: "
            f"{data.max_length}, which is {-room} too few",
        )


def _endpoint(bench, missing: list[plan.Model]) -> Iterator[Finding]:
    """An endpoint that cannot be asked: its client or its key is missing, or the profile asks what no server can do."""
    if plan.LARGE in missing and bench.remote("large"):
        try:
            bench.predictor("large").check()
        except CatKerasError as error:
            yield Finding("large.endpoint", str(error))


def _logs(names: Iterable[str]) -> Iterator[Finding]:
    from cat_keras.training import log

    try:
        if "tensorboard" in names:
            log.TensorBoardLog.check_available()
    except CatKerasError as error:
        yield Finding("--log tensorboard", str(error))


def _metrics(todo: plan.Plan) -> Iterator[Finding]:
    """Metrics that cannot judge at all, for want of a package or by a fault of their own."""
    for t, examples in _by_task(todo.test):
        problems = []
        try:
            getattr(metrics.of(t), "check_available", lambda: None)()
        except CatKerasError as error:
            problems = [str(error)]
        problems = problems or [problem for _, problem in itertools.islice(_judged(t, examples), TRIED)]
        if problems and all(problems):
            yield Finding(f"metric {t.metric} of task {t.name}", problems[0], t.name)


def _unjudged(todo: plan.Plan) -> Iterator[Finding]:
    """Test rows that their metric fails on."""
    for t, examples in _by_task(todo.test):
        room = JUDGED
        for example, problem in _judged(t, examples):
            room -= len(example.target) + sum(map(len, example.references))
            if room < 0:
                break
            if problem:
                yield Finding("", f"metric {t.metric}: {problem}", t.name, todo.profile.data.evaluate, example.id)


def _by_task(examples: Iterable[Example]) -> Iterator[tuple[task.Task, list[Example]]]:
    for name, group in itertools.groupby(examples, lambda e: e.task):
        yield task.get(name), list(group)


def _judged(t: task.Task, examples: Sequence[Example]) -> Iterator[tuple[Example, str]]:
    """Each example, and what goes wrong where the metric of its task judges it with its own target; "" if nothing.

    An example on which a metric fails may be one half of a pair: it is judged again with all examples of its group.
    """
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    for example in examples:
        problem = _problem(t, example, [example])
        if problem and example.group:
            problem = _problem(t, example, groups[example.group])
        yield example, problem


def _problem(t: task.Task, example: Example, members: Sequence[Example]) -> str:
    metric = metrics.of(t)
    try:
        metric.statistics([member.target for member in members], members)
        metric.per_example(example.target, example)
    except Exception as error:  # a metric of one's own can fail in any way
        return str(error) if isinstance(error, CatKerasError) else f"{type(error).__name__}: {error}"
    return ""


def _disk(todo: plan.Plan, cache: store.Store, missing: list[plan.Model]) -> Iterator[Finding]:
    """Whether the results that are still to be made fit on the disk, by the estimate of `--dry-run`."""
    try:
        stages = Estimate(todo).stages()
    except CatKerasError:  # the size of a preset is not known
        return
    cells = {key for c in todo.cells(missing) for key in (c.key, c.small_columns)}
    keys = cells | {todo.prediction_key(todo.model_key(m)) for m in missing}
    keys |= {source.key for source in todo.columns(todo.cells(missing))}
    needed = sum(s.disk for s in stages if s.key in keys and not cache.exists(s.kind, s.key))
    folder = next(p for p in (cache.root, *cache.root.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        yield Finding(
            str(cache.root),
            f"Results fit on the disk. Received: about {needed:,.0f} bytes to write, {free:,} bytes free. "
            "Free some, or name another folder with --out",
        )
