"""The part of a run that a worker process of a cluster does: jobs, each through the store."""

import atexit
import contextlib
import functools
import os
import platform
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.planning.findings import BadInput, Finding
from benchmarks.planning.graph import Job
from benchmarks.planning.plan import Model
from benchmarks.running.cluster.box import Box, Held
from benchmarks.running.cluster.reports import Teller, WorkerProgress
from cat_keras.errors import CatKerasError, Stopped
from cat_keras.storage import compilations

PATIENCE = 5.0  # seconds between two looks of a worker at whether its node is there


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        end: "done", "stopped", "lost" with a worker, "refused" for bad input, or "failed". text: of the error.
        job: that was under way then.
        trace: traceback of what failed. findings: of bad input, or the rows that no model can be given. count: of all.
    """

    end: str = "done"
    text: str = ""
    job: str = ""
    trace: str = ""
    findings: list[Finding] = field(default_factory=list)
    count: int = 0


def look(held: Held, reports, missing: Sequence[Model]) -> Outcome:
    """What stands against a run, and the rows that no model can be given, see `preflight.check`.

    Args:
        held: what all workers get. reports: the actor. missing: the models that are to be made.
    """

    def work(opened: "_Opened"):
        from benchmarks.running import preflight

        request = opened.box.request
        places = preflight.places(request.plan, request.data, request.source)
        bad = preflight.check(request.plan, opened.bench, list(missing), request.logs, places)
        opened.collect()
        return Outcome(findings=bad)

    return _guarded(held, reports, work)


def perform(held: Held, reports, jobs: Sequence[Job]) -> Outcome:
    """Does jobs, one after the other; what is in the store already takes no time.

    Args:
        held, reports: as for `look`.
    """

    def work(opened: "_Opened"):
        for job in jobs:
            opened.tell.job = job.name
            opened.do(job)
        return Outcome()

    return _guarded(held, reports, work)


def _guarded(held, reports, work) -> Outcome:
    """What `work` returns, or how it failed: an error of ours may not survive the way between two processes."""
    opened = None
    try:
        opened = _open(held, reports)
        return work(opened)
    except Stopped:
        return Outcome("stopped")
    except BadInput as error:
        return Outcome("refused", str(error), findings=error.findings, count=error.count)
    except CatKerasError as error:
        return Outcome("refused", str(error), opened.tell.job if opened else "", traceback.format_exc())
    except Exception as error:
        job = opened.tell.job if opened else ""
        end = "refused" if isinstance(error, OSError) else "failed"
        text = f"The system refused a file: {error}" if end == "refused" else f"{type(error).__name__}: {error}"
        return Outcome(end, text, job, traceback.format_exc())


class _Opened:
    """What a worker process keeps between the jobs of a run: models, compiled functions, data."""

    def __init__(self, box: Box, tell: Teller, collect):
        from benchmarks.running.cluster.member import MemberStore
        from cat_keras.training import distribution

        place = distribution.choose(box.request.strategy)  # before anything else uses TensorFlow
        from benchmarks.running.workbench import Workbench

        self.box, self.tell, self.collect, self._group = box, tell, collect, None
        progress = WorkerProgress(tell, tell.stopping)
        notice = functools.partial(tell, "notice")
        self.store = MemberStore(box.request.out / "cache", notice, progress.go_on, place.chief, box.request.remote)
        self.bench = Workbench(box.todo, self.store, progress, place, box.request.log_maker())
        self.bench.left_out = box.left_out
        self._makers = {(kind, key): make for kind, key, make in self._all_makers()}

    def do(self, job: Job):
        self._free(job)
        self._makers[job.kind, job.key](job.part)
        self.collect()

    def _all_makers(self):
        """(kind, key, function of the part) of everything in the plan."""
        from benchmarks.running import answering

        bench, todo = self.bench, self.box.todo
        yield "encoded", todo.encoded, lambda part: bench.encoded()
        cells = todo.cells()
        for cell in cells:
            yield "train", cell.key, lambda part, cell=cell: bench.trained(cell)
            yield "teacher", cell.start_columns, lambda part, cell=cell: bench.start_columns(cell)
            yield "teacher", cell.small_columns, lambda part, cell=cell: bench.small_columns(cell)
        for source in todo.columns(cells):
            yield (
                "teacher",
                source.key,
                lambda part, source=source: bench.columns_part(source, part) if part else bench.columns(source),
            )
        self._models = {todo.name(model): model for model in todo.models()}
        for model in self._models.values():

            def answer(part, model=model):
                parts = (part[0],) if part else ()
                (answering.predict_part if part else answering.predict)(todo, self.store, bench, model, *parts)

            yield "predict", todo.prediction_key(todo.model_key(model)), answer

    def _free(self, job: Job):
        """Frees what the jobs before this one compiled and loaded, unless they were of the same method."""
        model = self._models.get(job.model)
        group = model and (job.role, model[0])
        if group != self._group and model:
            self.bench.keep([model])
        self._group = group


class _Process:
    """What this process has open: nothing before its first task, and one run after it."""

    name = ""  # of the box, by its reference
    opened: _Opened | None = None
    until_exit = contextlib.ExitStack()
    collect = None  # keeps what XLA compiled; its place is chosen once, before TensorFlow is loaded


atexit.register(_Process.until_exit.close)


def _open(held: Held, reports) -> _Opened:
    """What this process has open for a run, opened by its first task."""
    import ray

    if _Process.name != held.reference.hex():
        # A machine may have several nodes of a cluster.
        box, host = held.opened(ray), f"{platform.node()}/{ray.get_runtime_context().get_node_id()[:8]}"
        box.check(host)
        if _Process.collect is None:
            threading.Thread(target=end_with_node, args=(os.getppid(),), daemon=True).start()
            box.enter()
            _Process.collect = _Process.until_exit.enter_context(compilations.kept(box.request.out / "compiled"))
        _Process.opened = _Opened(box, Teller(ray, reports, host), _Process.collect)
        _Process.name = held.reference.hex()
    return _Process.opened


def end_with_node(parent: int):
    """Ends this process when the node that started it is gone, whatever it waits for: another has its job by then.

    Ray does so as well, unless the process hangs in a call of Ray; the locks that it holds would not be free.
    """
    while os.getppid() == parent:
        time.sleep(PATIENCE)
    os._exit(1)
