"""Makes what a run asks for on a Ray cluster.

The driver gives out jobs whose inputs are in the store, and counts them off; no result passes through it. A job whose
worker was lost is given out again and goes on from its last checkpoint, which lies in the folder that machines share.
"""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.planning import graph, plan
from benchmarks.planning.estimate import Estimate
from benchmarks.planning.graph import Job
from benchmarks.planning.schedule import Ready
from benchmarks.running.cluster import gang, needs, worker
from benchmarks.running.cluster.box import Box, Held
from benchmarks.running.cluster.dispatch import ATTEMPTS, Board, Dispatcher
from benchmarks.running.cluster.joining import Cluster, gone, other_code
from benchmarks.running.cluster.reports import Reports
from benchmarks.running.journal import Journal
from benchmarks.running.locks import SharedStore
from benchmarks.running.progress import Progress
from benchmarks.running.request import Request, damaged
from cat_keras.errors import CatKerasError

HEAD = "node:__internal_head__"  # a resource of which the head alone has 1


def make(
    request: Request,
    cache: SharedStore,
    journal: Journal,
    progress: Progress,
    cluster: Cluster,
    kind: str = "",
    hosts: int = 1,
    tasks_files: Sequence[str] = (),
) -> plan.Plan:
    """As `here.make`, on the machines of a cluster.

    Args:
        kind: of GPU to ask for, as Ray names it; "" for any. hosts: that each training spans.
        tasks_files: files of tasks that workers load as well.

    Raises:
        CatKerasError: also where the cluster lacks what a job takes, shares no folder, or is lost.
    """
    whole = request.plan
    missing, spoilt = request.missing(whole, cache), damaged(whole, cache)
    journal.notice(f"cluster: {cluster}; {whole.profile.precision}")
    box = Box(request, whole)
    box.write_mark()
    try:
        with _Session(cluster, box, journal, progress, kind, hosts, tuple(tasks_files)) as session:
            todo = whole
            jobs = graph.make(todo, missing, cache.is_shared, spoilt)
            session.needs_of(jobs)  # what is missing is said before anything is looked at
            if missing:
                todo = session.without_bad_rows(missing)
                missing = request.missing(todo, cache)
                jobs = graph.make(todo, missing, cache.is_shared, spoilt)
            request.announce(todo, missing, journal)
            session.do(jobs)
    finally:
        box.remove_mark()
    return todo


class _Session:
    """The tasks of one run on a cluster; at the end of the block none is left. Arguments as for `make`."""

    def __init__(self, cluster: Cluster, box: Box, journal: Journal, progress: Progress, kind, hosts, tasks_files):
        self.cluster, self.ray, self.box, self.tasks_files = cluster, cluster.ray, box, tasks_files
        self.journal, self.progress, self.kind, self.hosts = journal, progress, kind, hosts

    def __enter__(self):
        # On the head, which is there as long as the cluster is.
        place = {"num_cpus": 0, "resources": {HEAD: 0.001}}
        self._reports = self.ray.remote(Reports).options(max_restarts=ATTEMPTS, **place).remote()
        try:
            self.ray.get(self._reports.take.remote())
        except self.ray.exceptions.RayError as error:
            self.cluster.check_head()
            raise other_code(error) from error
        self._held = Held(self.ray.put(self.box), self.tasks_files)
        return self

    def __exit__(self, *_):
        with gone(self.ray):
            self.ray.kill(self._reports)

    def without_bad_rows(self, missing: Sequence[plan.Model]) -> plan.Plan:
        """The plan without rows that no model can be given, which a worker looks for."""
        task = self.ray.remote(worker.look).options(num_cpus=1, max_retries=ATTEMPTS)
        running = {task.remote(self._held, self._reports, list(missing)): [Job("", "look", "", "", "", "", ())]}
        found = []
        self._dispatcher(running, lambda jobs: None, found.append).finish()
        if bad := found[0].findings:
            todo = self.box.request.plan.without(bad)
            rows = frozenset((row.task, row.id) for row in bad if row.split == "train")
            self.box = replace(self.box, todo=todo, left_out=rows)
            self._held = Held(self.ray.put(self.box), self.tasks_files)
        return self.box.todo

    def needs_of(self, jobs: Sequence[Job]) -> dict[tuple[str, str], needs.Needs]:
        """(role, kind of job) → what such a job takes; raises CatKerasError where the cluster has no place for one."""
        self.cluster.wait_for_core(self.journal.notice)
        nodes, gpus = self.cluster.nodes(), self.cluster.total()["GPU"] > 0
        found = needs.of(jobs, _estimate(self.box.todo), gpus, self.kind)
        needs.check(found, nodes, {"train": self.hosts})
        return found

    def do(self, jobs: Sequence[Job]):
        """Does all jobs of a graph."""
        estimate, found = _estimate(self.box.todo), self.needs_of(jobs)
        flops = {stage.key: stage.flops for stage in estimate.stages()} if estimate else {}
        ready = Ready(jobs, lambda job: 1.0 + flops.get(job.key, 0.0) / (job.part[1] if job.part else 1))
        self.progress.expect(len(jobs))
        board = Board(jobs, self.journal, self.progress)
        alone = {
            shape: self.ray.remote(worker.perform).options(max_retries=0, **need.options())
            for shape, need in found.items()
        }
        together = self.ray.remote(gang.together).options(max_retries=0, num_cpus=0, resources={HEAD: 0.001})

        def submit(bundle: list[Job]):
            shape = bundle[0].role, bundle[0].kind
            if self.hosts > 1 and bundle[0].kind == "train":
                return together.remote(self._held, self._reports, bundle, self.hosts, found[shape].options())
            return alone[shape].remote(self._held, self._reports, bundle)

        dispatcher = self._dispatcher({}, submit, lambda outcome: None, board)
        dispatcher.run(ready)

    def _dispatcher(self, running, submit, ended, board=None) -> Dispatcher:
        return Dispatcher(self.cluster, self._reports, self.journal, self.progress, submit, ended, running, board)


def _estimate(todo: plan.Plan) -> Estimate | None:
    """What the jobs of a plan take; None where the size of a preset is not known."""
    try:
        return Estimate(todo)
    except CatKerasError:
        return None
