"""Makes what a run asks for in this process, model by model."""

import contextlib
from collections.abc import Callable

from benchmarks.planning import plan
from benchmarks.running import answering, preflight
from benchmarks.running.journal import Journal
from benchmarks.running.locks import SharedStore
from benchmarks.running.progress import Progress
from benchmarks.running.request import Request, damaged
from cat_keras.errors import CatKerasError
from cat_keras.storage import compilations


def make(request: Request, cache: SharedStore, journal: Journal, progress: Progress) -> plan.Plan:
    """Trains the models that are missing and has them answer; builds damaged entries again.

    Returns:
        The plan without the rows that no model can be given, where the profile leaves them out.
    """
    whole = todo = request.plan
    if whole.profile.data.bad_rows == "leave out":
        todo = whole.without(preflight.rows(whole, cache) or ())  # what an earlier call of this run has found
    missing, spoilt = request.missing(todo, cache), damaged(todo, cache)
    bench, collect = None, None
    with contextlib.ExitStack() as until_done:
        if missing or spoilt:
            collect = until_done.enter_context(compilations.kept(request.out / "compiled"))
            from benchmarks.running.workbench import Workbench  # late: a run with nothing to do loads no TensorFlow
            from cat_keras.training import device, distribution

            _check_alone(request.strategy)
            place = distribution.choose(request.strategy)
            how = device.description(whole.profile.precision)
            journal.console.print(f"strategy: {place}; {how}", markup=False, soft_wrap=True)
            bench = Workbench(todo, cache, progress, place, request.log_maker())
        if missing:
            places = preflight.places(whole, request.data, request.source)
            todo = leave_out(whole, bench, preflight.check(whole, bench, missing, request.logs, places))
            missing = request.missing(todo, cache)
        request.announce(todo, missing, journal)
        progress.expect(_count_stages(todo, cache, missing))
        _make_models(todo, cache, bench, missing, journal, collect)
        if spoilt:
            bench.mend(spoilt)
    return todo


def _check_alone(strategy: str):
    """Raises CatKerasError where a training would span several hosts, which Ray starts."""
    from cat_keras.training import distribution

    count = distribution.configured_workers() if strategy in ("auto", "multi_worker") else 0
    if count > 1 or strategy == "multi_worker":
        raise CatKerasError(
            f"A run whose trainings span several hosts is started by Ray. Received: strategy {strategy}, TF_CONFIG "
            f"with {count} workers. Unset TF_CONFIG, and use --on ray --hosts {max(count, 2)}"
        )


def leave_out(whole: plan.Plan, bench, bad: list) -> plan.Plan:
    """The plan, also that of a `Workbench`, without the rows that no model can be given."""
    bench.plan = whole.without(bad)
    bench.left_out = frozenset((row.task, row.id) for row in bad if row.split == "train")
    return bench.plan


def _count_stages(todo, cache, missing) -> int:
    """How many stages will show a bar: trainings and predictions not in the cache, and the teacher cache."""
    cells = [c for c in todo.cells(missing) if not cache.exists("train", c.key)]
    teaches = sum(not cache.exists("teacher", source.key) for source in todo.columns(cells))
    early = sum(not cache.exists(s, k) for s, k in (("tokenizer", todo.tokenizer), ("encoded", todo.encoded)))
    teaches += any(c.small_columns and not cache.exists("teacher", c.small_columns) for c in cells)
    return len(cells) + teaches + len(missing) + (early if missing else 0)


def _make_models(todo, cache, bench, missing: list[plan.Model], journal: Journal, collect: Callable[[], None]):
    """Trains each model and stores its predictions; `collect` keeps the code that was compiled for it."""
    for number, model in enumerate(missing):
        journal.making(todo, model)
        if number == 0 or model[0] != missing[number - 1][0]:  # seeds of a method share what is compiled
            bench.keep(missing[number:])
        bench.make(model)
        answering.predict(todo, cache, bench, model)
        collect()
        readers = [m for m in missing[1:] if any(source.role == "large" for source in todo.last(m).teachers)]
        if model == plan.LARGE and readers:
            journal.making(todo, readers[0])
            bench.teacher()  # while the large model is loaded
    journal.model = ""
