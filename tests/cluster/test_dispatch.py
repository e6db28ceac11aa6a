"""How jobs are given out, and again when a worker is lost or silent: with a stand-in for Ray, which takes no time."""

import io
import types

import pytest
from rich.console import Console

from benchmarks.planning.graph import Job
from benchmarks.planning.schedule import Ready
from benchmarks.running.cluster import dispatch
from benchmarks.running.cluster.worker import Outcome
from benchmarks.running.journal import Journal
from benchmarks.running.progress import Progress
from cat_keras.errors import CatKerasError, Stopped


class RayError(Exception):
    pass


class RayTaskError(RayError):
    cause = None


class GetTimeoutError(RayError):
    pass


class ActorUnavailableError(RayError):
    pass


class Ray:
    """Stands for Ray: a task ends as soon as somebody waits for it, with what `ends` says of its first job."""

    exceptions = types.SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, GetTimeoutError=GetTimeoutError,
        ActorUnavailableError=ActorUnavailableError,
    )  # fmt: skip

    def __init__(self, ends=None):
        self.tasks, self.ends, self.cancelled, self.messages = [], dict(ends or {}), [], []
        take, stop = (types.SimpleNamespace(remote=lambda name=name: name) for name in ("take", "stop"))
        self.reports = types.SimpleNamespace(take=take, stop=stop)

    def submit(self, jobs):
        self.tasks.append([job.name for job in jobs])
        return len(self.tasks) - 1

    def wait(self, references, num_returns, timeout):
        ended = [r for r in references if self.ends.get(self.tasks[r][0], [None])[:1] != ["hangs"]]
        return ended[:num_returns], []

    def get(self, reference, timeout=None):
        if reference == "take":
            messages, self.messages = self.messages, []
            return messages
        ends = self.ends.get(self.tasks[reference][0], [])
        end = ends.pop(0) if ends else Outcome()
        if isinstance(end, Exception):
            raise end
        return end

    def cancel(self, reference, force):
        self.cancelled.append(self.tasks[reference])
        self.ends[self.tasks[reference][0]] = [RayError("cancelled")]


class Cluster:
    name = "host:1"

    def __init__(self, ray, places=1):
        self.ray, self.places = ray, places if callable(places) else lambda: places

    def check_head(self):
        """It answers."""


def job(name, *needs, kind="train"):
    return Job(name, name, kind, name, "small", f"model of {name}", needs)


def dispatched(tmp_path, jobs, ray, places=1):
    console = Console(file=io.StringIO(), width=200)
    journal = Journal(tmp_path, (), console)
    dispatcher = dispatch.Dispatcher(
        Cluster(ray, places), ray.reports, journal, Progress(console), ray.submit, lambda outcome: None
    )
    dispatcher.run(Ready(jobs, lambda job: 1.0))
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(dispatch, "POLL", 0.0)


def test_every_job_is_done_once_after_those_that_it_needs(tmp_path):
    ray = Ray()
    jobs = [job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"), job("e")]
    dispatched(tmp_path, jobs, ray)
    order = [name for task in ray.tasks for name in task]
    assert sorted(order) == list("abcde")
    assert order.index("a") < min(order.index("b"), order.index("c")) and order.index("d") > order.index("c")


def test_many_that_are_ready_are_given_out_together_those_of_one_shape(tmp_path):
    ray = Ray()
    jobs = [job(f"t{i}") for i in range(100)] + [job(f"p{i}", kind="predict") for i in range(100)]
    dispatched(tmp_path, jobs, ray, places=2)
    assert sorted(name for task in ray.tasks for name in task) == sorted(each.name for each in jobs)
    assert all(len({name[0] for name in task}) == 1 for task in ray.tasks)
    assert 10 < len(ray.tasks) < 100 and len(ray.tasks[0]) > 10 and len(ray.tasks[-1]) == 1


def test_a_lost_worker_costs_its_jobs_another_attempt_each_alone(tmp_path):
    ray = Ray({"t0": [RayError("the node died"), Outcome("lost", "a member died")]})
    said = dispatched(tmp_path, [job(f"t{i}") for i in range(40)], ray)
    bundle = ray.tasks[0]
    assert len(bundle) > 1 and [task for task in ray.tasks[1:] if "t0" in task] == [["t0"]] * 2
    assert all([name] in ray.tasks for name in bundle)
    assert said.count("t0: its worker was lost") == 2 and "RayError: the node died" in said


def test_a_job_that_ends_every_worker_is_named(tmp_path):
    ray = Ray({"a": [RayError("out of memory")] * dispatch.ATTEMPTS})
    with pytest.raises(CatKerasError, match=r"may lose its worker 4 times. Received: a, lost again .*out of memory"):
        dispatched(tmp_path, [job("a"), job("b", "a")], ray)
    assert len(ray.tasks) == dispatch.ATTEMPTS


def test_a_worker_that_says_nothing_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "SILENCE", 0.05)
    ray = Ray({"a": ["hangs"]})
    ray.messages = [("a", "host", "beat", "")]
    said = dispatched(tmp_path, [job("a")], ray)
    assert ray.cancelled == [["a"]] and ray.tasks == [["a"], ["a"]]
    assert "a: no sign of its worker" in said and "a: its worker was lost" in said


def test_a_job_that_waits_for_its_place_is_not_taken_for_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "SILENCE", 0.0)
    ray = Ray({"a": ["hangs"]})
    looked = []

    def take(reference, timeout=None, true=ray.get):
        if reference == "take":
            looked.append(1)
            if len(looked) > 5:
                ray.ends.clear()
        return true(reference, timeout)

    monkeypatch.setattr(ray, "get", take)
    dispatched(tmp_path, [job("a")], ray)
    assert ray.cancelled == [] and ray.tasks == [["a"]]


def test_a_run_that_has_lost_all_nodes_says_so_and_waits_for_one(tmp_path, monkeypatch):
    ray = Ray({"a": ["hangs"]})
    counts = [1, 0, 0, 0, 1, 0]

    def places():
        if counts == [0]:
            ray.ends.clear()  # the job ends on the node that has come meanwhile
        return counts.pop(0) if counts else 1

    said = dispatched(tmp_path, [job("a")], ray, places)
    assert said.count("no node of the cluster is left that has a core; waiting 30 min for one") == 2
    assert not counts and ray.tasks == [["a"]]
    monkeypatch.setattr(dispatch, "ALONE", 0.0)
    with pytest.raises(CatKerasError, match=r"lost all nodes .*Received: host:1, to which none has come"):
        dispatched(tmp_path, [job("a")], Ray({"a": ["hangs"]}), lambda: 0)


def test_an_error_of_a_job_ends_the_others_and_is_told_with_its_model(tmp_path):
    refused = Outcome("refused", "A loss is finite. Received: nan", "a", "Traceback\n  line")
    ray = Ray({"a": [refused], "b": ["hangs"]})
    console = Console(quiet=True)
    journal = Journal(tmp_path, (), console)
    dispatcher = dispatch.Dispatcher(Cluster(ray), ray.reports, journal, Progress(console), ray.submit, print)
    with pytest.raises(CatKerasError, match="A loss is finite"):
        dispatcher.run(Ready([job("a"), job("b")], lambda job: 1.0))
    assert journal.model == "model of a" and ray.cancelled == [["b"]]
    assert "trace    Traceback" in journal.path.read_text()


def test_who_is_asked_to_end_has_workers_save_their_state(tmp_path, monkeypatch):
    ray = Ray({"a": ["hangs"]})
    console = Console(quiet=True)
    progress = Progress(console)
    monkeypatch.setattr(progress, "go_on", lambda saved=True: (_ for _ in ()).throw(Stopped))
    monkeypatch.setattr(dispatch, "GRACE", 0.0)
    dispatcher = dispatch.Dispatcher(
        Cluster(ray), ray.reports, Journal(tmp_path, (), console), progress, ray.submit, print
    )
    with pytest.raises(Stopped):
        dispatcher.run(Ready([job("a")], lambda job: 1.0))
    assert ray.cancelled == [["a"]]
