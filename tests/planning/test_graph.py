"""The graph of a run's jobs, and the order in which several machines do them."""

import random

import pytest

from benchmarks.planning import graph, plan, profile, schedule
from benchmarks.planning.graph import Job

SMALL = {"data.train": 20, "data.test": 8}


def make(name="embedded", **changes):
    return plan.make(profile.read(name, SMALL | changes))


def nothing(*_):
    return False


def jobs_of(todo, has=nothing, **more):
    return graph.make(todo, graph.ordered(todo, todo.models()), has, **more)


@pytest.mark.parametrize("name", ["embedded", "embedded_three", "salt_ds", "elastic"])
def test_jobs_are_all_that_a_run_builds_each_after_what_it_needs(name):
    source = {"data.source": "samples"} if name in ("salt_ds", "elastic") else {}
    todo = make(name, **source, seeds=[0, 1])
    jobs, done = jobs_of(todo), set()
    for job in jobs:
        assert done.issuperset(job.needs), job
        done.add(job.name)
    assert len(done) == len(jobs)
    keys = {todo.prediction_key(todo.model_key(model)) for model in todo.models()}
    needed = {key for _, key in todo.made_from()} - {todo.tokenizer}
    if not todo.columns(todo.cells()):
        needed -= {todo.teacher}
    assert {job.key for job in jobs} == needed | keys


def test_what_is_there_is_not_built_nor_what_it_is_made_from():
    todo = make(seeds=[0, 1])
    whole = jobs_of(todo)
    assert jobs_of(todo, lambda *_: True) == []
    tuned = todo.large.key
    labels = {job.label for job in jobs_of(todo, lambda stage, key: key == tuned)}
    assert {job.label for job in whole} - labels == {"large pretrain", "large tune"}
    answered = {todo.prediction_key(todo.model_key(model)) for model in todo.models() if model[0] != "xent"}
    rest = jobs_of(todo, lambda stage, key: key in answered)
    assert {job.label for job in rest if job.kind == "predict"} == {"predict xent seed 0", "predict xent seed 1"}
    assert not [job for job in rest if job.role == "large"]


def test_damaged_entries_are_made_again_though_no_prediction_needs_them():
    todo = make()
    again = jobs_of(todo, lambda stage, key: key != todo.teacher, again=[todo.teacher])
    assert [job.label for job in again] == ["teacher cache"] and again[0].needs == ()


def test_columns_and_predictions_of_many_examples_are_made_in_parts(monkeypatch):
    todo = make()
    monkeypatch.setattr(graph, "SHARD", 30)  # of 80 training examples
    monkeypatch.setattr(graph, "PART", 20)  # of 32 test examples
    jobs = {job.label: job for job in jobs_of(todo)}
    parts = [jobs[f"teacher cache {i}/3"] for i in (1, 2, 3)]
    assert [part.part for part in parts] == [(0, 3), (1, 3), (2, 3)]
    assert jobs["teacher cache"].needs == tuple(part.name for part in parts)
    assert all(jobs["large tune"].name in part.needs for part in parts)
    assert jobs["predict large"].needs == tuple(jobs[f"predict large {i}/2"].name for i in (1, 2))


def test_seeds_of_a_method_follow_each_other_and_what_waits_for_the_teacher_comes_last():
    todo = make(seeds=[0, 1])
    order = graph.ordered(todo, todo.models())
    waits = [m != plan.LARGE and todo.small[m].needs_teacher for m in order]
    assert waits == sorted(waits)
    assert order[:3] == [plan.LARGE, ("xent", 0), ("xent", 1)]


# -- schedule --------------------------------------------------------------------------------------------------------


def job(name, *needs):
    return Job(name, name, "train", name, "small", "", needs)


def seconds(job) -> float:
    return float(job.name.rpartition(" ")[2])


DIAMOND = [job("a 1"), job("b 5", "a 1"), job("c 2", "a 1"), job("d 1", "b 5", "c 2"), job("e 3")]


def test_the_job_that_the_longest_chain_waits_for_comes_first():
    assert schedule.chains(DIAMOND, seconds) == {"a 1": 7, "b 5": 6, "c 2": 3, "d 1": 1, "e 3": 3}
    assert [each.name for each in schedule.longest_chain(DIAMOND, seconds)] == ["a 1", "b 5", "d 1"]
    assert [schedule.makespan(DIAMOND, seconds, n) for n in (1, 2, 3)] == [12, 7, 7]


def test_a_makespan_lies_between_what_must_be_and_twice_that():
    draw = random.Random(0)
    for _ in range(50):
        jobs = []
        for i in range(draw.randrange(1, 40)):
            needs = draw.sample([each.name for each in jobs], draw.randrange(min(len(jobs), 3) + 1))
            jobs.append(job(f"{i} {draw.randrange(1, 9)}", *needs))
        for devices in (1, 2, 7):
            chain, total = sum(map(seconds, schedule.longest_chain(jobs, seconds))), sum(map(seconds, jobs))
            least = max(chain, total / devices)
            assert least <= schedule.makespan(jobs, seconds, devices) <= total / devices + chain + 1e-9


def test_a_job_that_is_put_back_comes_next_and_what_is_done_is_forgotten():
    ready = schedule.Ready(DIAMOND, seconds)
    first, second = ready.take(), ready.take()
    assert (first.name, second.name, len(ready)) == ("a 1", "e 3", 0)
    ready.put_back(second)
    assert ready.take() is second and ready.left == 5
    ready.done(second)
    ready.done(first)
    names = []
    while ready.left:
        names.append(ready.take())
        ready.done(names[-1])
    assert [each.name for each in names] == ["b 5", "c 2", "d 1"]
    assert not (ready._ranks or ready._waits or ready._dependents)
