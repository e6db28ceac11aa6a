"""Keeps the places of a cluster busy with jobs: gives them out, and again where a worker is lost or silent."""

import time
from collections.abc import Callable, Sequence

from benchmarks.planning.findings import BadInput
from benchmarks.planning.graph import Job
from benchmarks.planning.schedule import Ready
from benchmarks.running.cluster import worker
from benchmarks.running.cluster.joining import first_line, gone, lost_head, other_code
from benchmarks.running.journal import Journal
from benchmarks.running.progress import Progress
from cat_keras.errors import CatKerasError, Stopped

POLL = 0.2  # seconds between two looks at what workers say
GRACE = 60.0  # seconds that workers have to save their state when a run is asked to end
SILENCE = 1800.0  # seconds without a sign of a worker until its job is given to another
ALONE = 1800.0  # seconds that a run waits for a node where it has lost all
ATTEMPTS = 5  # times that a job may lose its worker
BUNDLE = 100  # jobs that one task does, where so many are ready that each place has several tasks to come


class Dispatcher:
    """Keeps the places of a cluster busy with jobs.

    Args:
        cluster: where they run. reports: the actor through which workers speak. journal, progress: of the run.
        submit: gives a list of jobs of one shape to the cluster and returns the reference of the task.
        ended: called with the `Outcome` of each task that did its work.
        running: tasks that are under way already: reference → jobs. board: shows what workers say; None for nothing.
    """

    def __init__(
        self, cluster, reports, journal, progress, submit: Callable, ended: Callable, running=None, board=None
    ):
        self.cluster, self.ray, self.reports = cluster, cluster.ray, reports
        self.journal, self.progress = journal, progress
        self.submit, self.ended, self.running, self.board = submit, ended, running or {}, board
        self.ready: Ready | None = None
        self._attempts: dict[str, int] = {}  # job → how often it was lost
        self._heard: dict[str, float] = {}  # job → when its worker last said something
        self._looked, self._places = 0.0, cluster.places()
        self._alone_since: float | None = None  # when the last node was lost; None while there is one

    def run(self, ready: Ready):
        """Does all jobs; raises what stops the run, when no task is under way any more."""
        self.ready = ready
        self.finish()

    def finish(self):
        """Goes on until nothing is under way or ready."""
        try:
            while self.running or (self.ready is not None and self.ready.left):
                self._fill()
                self._wait()
                self._listen()
            self._listen(at_once=True)
        except (KeyboardInterrupt, Stopped):
            self._end(GRACE)
            raise
        except BaseException:
            self._end(0.0)
            raise

    def _fill(self):
        """Gives out jobs, more at a time where many are ready, until each place has a task and one to come."""
        if self.ready is None:
            return
        places = max(self._places, 1)
        while len(self.ready) and len(self.running) < 2 * places:
            size = min(max(len(self.ready) // (4 * places), 1), BUNDLE)
            bundle = [self.ready.take()]
            while len(self.ready) and len(bundle) < size and bundle[0].name not in self._attempts:
                job = self.ready.take()
                if (job.role, job.kind) != (bundle[0].role, bundle[0].kind) or job.name in self._attempts:
                    self.ready.put_back(job)
                    break
                bundle.append(job)
            self.running[self.submit(bundle)] = bundle

    def _wait(self):
        if self.running:
            done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=POLL)
            if done:  # and all others that have ended meanwhile
                done, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
            for reference in done:
                self._ended(reference, self.running.pop(reference))

    def _ended(self, reference, jobs: list[Job]):
        exceptions = self.ray.exceptions
        try:
            outcome = self.ray.get(reference)
        except exceptions.RayTaskError as error:  # before our own code could answer
            raise other_code(error) from error
        except exceptions.RayError as error:
            self._lost(jobs, f"{type(error).__name__}: {first_line(error)}")
            return
        if outcome.end == "lost":
            self._lost(jobs, outcome.text)
            return
        _raise(outcome, jobs, self.journal)
        for job in jobs if self.ready is not None else ():
            self.ready.done(job)
            self._attempts.pop(job.name, None)
            self._heard.pop(job.name, None)
        self.ended(outcome)
        if self.board:
            self.board.count(len(jobs), len(self.running))

    def _lost(self, jobs: list[Job], problem: str):
        """Gives jobs out again whose worker is gone; each alone, so that one that ends its worker ends no other."""
        self.cluster.check_head()
        self.journal.notice(f"{jobs[0].label}: its worker was lost ({problem:.60}); again from its last state")
        for job in jobs:
            self._attempts[job.name] = self._attempts.get(job.name, 0) + 1
            self._heard.pop(job.name, None)
            if self._attempts[job.name] >= ATTEMPTS or self.ready is None:
                self.journal.model = job.model
                raise CatKerasError(
                    f"A job may lose its worker {ATTEMPTS - 1} times. Received: {job.label}, lost again ({problem}). "
                    "Look at the memory of the nodes, and start the same command again"
                )
            self.ready.put_back(job)

    def _listen(self, at_once: bool = False):
        """Notes what workers have said; ends those that say nothing; raises if the run is to end."""
        self.progress.go_on()
        now = time.monotonic()
        if now - self._looked < POLL and not at_once:
            return
        self._looked = now
        self.cluster.check_head()
        self._places = self.cluster.places()  # nodes may come and go
        self._check_nodes(now)
        try:
            messages = self.ray.get(self.reports.take.remote(), timeout=GRACE)
        except (self.ray.exceptions.ActorUnavailableError, self.ray.exceptions.GetTimeoutError):
            return  # some messages are lost, and no result
        except self.ray.exceptions.RayError as error:
            raise lost_head(self.cluster.name, error) from error
        for name, host, event, text in messages:
            self._heard[name] = now
            if event == "notice":
                self.journal.notice(f"{text} ({host})")
            elif event != "beat" and self.board:
                self.board.show(name, host, event, text)
        for reference, jobs in self.running.items():
            heard = [self._heard[job.name] for job in jobs if job.name in self._heard]
            if heard and now - max(heard) > SILENCE:
                self.journal.notice(f"{jobs[0].label}: no sign of its worker for {SILENCE:,.0f} s; ending it")
                self._heard |= {job.name: now for job in jobs}
                self.ray.cancel(reference, force=True)

    def _check_nodes(self, now: float):
        """Says when no node is left that can do work, and raises CatKerasError where none has come for `ALONE`."""
        if self._places:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
            self.journal.notice(f"no node of the cluster is left that has a core; waiting {ALONE / 60:.0f} min for one")
        elif now - self._alone_since > ALONE:
            raise CatKerasError(
                f"A run waits {ALONE / 60:.0f} min where its cluster has lost all nodes that can do work. Received: "
                f"{self.cluster.name}, to which none has come. What was finished is kept: start nodes, and the same "
                "command again"
            )

    def _end(self, seconds: float):
        """Lets workers save their state for so long, and ends those that are left."""
        with gone(self.ray):
            self.reports.stop.remote()
            # A task that has not begun may have no node that it could begin on.
            begun = [task for task, jobs in self.running.items() if any(job.name in self._heard for job in jobs)]
            if begun and seconds:
                self.ray.wait(begun, num_returns=len(begun), timeout=seconds)
            for reference in self.running:
                self.ray.cancel(reference, force=True)


class Board:
    """Prints what workers have done, and a bar of all jobs."""

    def __init__(self, jobs: Sequence[Job], journal: Journal, progress: Progress):
        self.total, self.finished, self.journal, self.progress = len(jobs), 0, journal, progress
        if jobs:
            progress.start("jobs", len(jobs), "jobs")

    def count(self, finished: int, running: int):
        """Notes that so many more jobs are done, and how many tasks are under way."""
        self.finished += finished
        self.progress.advance(finished, f"{running} tasks under way or to come")

    def show(self, job: str, host: str, event: str, text: str):
        """Notes what a worker has begun or done; what is done is printed."""
        self.journal(event, f"{text} on {host}")
        if event == "done":
            self.progress.console.print(f"{text} on {host}", soft_wrap=True, markup=False, highlight=False)


def _raise(outcome: worker.Outcome, jobs: Sequence[Job], journal: Journal):
    """Raises the error with which a task has ended, if it has."""
    if outcome.end == "done":
        return
    if outcome.end == "stopped":
        raise Stopped
    failed = next((job for job in jobs if job.name == outcome.job), jobs[0])
    journal.model = failed.model
    for line in outcome.trace.splitlines():
        journal("trace", line)
    if outcome.end == "refused":
        raise BadInput(outcome.findings, outcome.count) if outcome.findings else CatKerasError(outcome.text)
    raise RuntimeError(f"{failed.label} failed on a worker: {outcome.text}\n{outcome.trace}")
