"""Elastic methods in a profile: every size is a method, the sizes of a kind are one training, others are as before."""

import pytest

from benchmarks.planning import plan, profile
from benchmarks.planning.estimate import Estimate
from cat_keras.errors import CatKerasError

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4}


def read(**changes):
    sizes = {"elastic.sizes.half": {"layers": 1}, "elastic.sizes.tiny": {"layers": 1, "feedforward": 24}}
    return profile.read("embedded", SMALL | sizes | {"methods": ["xent", "elastic", "static", "elastic-cat"]} | changes)


def test_a_kind_stands_for_every_size_and_all_else_is_as_before():
    elastic = read()
    sizes = ("half", "tiny", "whole")
    names = [f"{kind}-{size}" for kind in ("elastic", "static", "elastic-cat") for size in sizes]
    assert elastic.methods == ("xent", *names)
    assert profile.Profile.model_validate(elastic.model_dump()) == elastic
    assert elastic.objective_of("elastic-cat-tiny") == ("cat-xent", {})
    plain = profile.read("embedded", SMALL | {"methods": ["xent"]})
    assert "elastic" not in plain.model_dump()
    assert plan.make(plain, None).small["xent", 0] == plan.make(elastic, None).small["xent", 0]


def test_shared_sizes_are_cut_from_one_training_and_static_ones_are_trained_after_the_cut():
    todo = plan.make(read(), None)
    small = {method: cell for (method, _), cell in todo.small.items()}
    assert small["elastic-half"].start == small["elastic-tiny"].start == small["elastic-whole"].start
    training = small["elastic-half"].start
    assert (training.objective, training.label) == ("xent", "small elastic seed 0")
    assert training.start.objective == "reorder" and training.start.start == small["xent"].start
    static = small["static-tiny"]
    assert (static.objective, static.start.objective) == ("xent", "cut")
    assert static.start.start == training.start
    assert static.size == small["elastic-tiny"].size == {"layers": 1, "width": 48, "heads": 2, "feedforward": 24}
    keys = [small[m].key for m in small]
    assert len(keys) == len(set(keys))
    assert small["elastic-cat-half"].needs_teacher and not static.needs_teacher
    # Of another ladder the static sizes are the same, and the elastic model is another.
    other = plan.make(read(**{"elastic.sizes.tiny": {"layers": 1, "feedforward": 12}}), None)
    assert other.small["static-half", 0].key == small["static-half"].key
    assert other.small["elastic-half", 0].key != small["elastic-half"].key
    assert (
        plan.make(read(**{"elastic.importance": 0}), None).small["elastic-half", 0].start.start == small["xent"].start
    )


def test_the_estimate_counts_the_passes_of_a_step_and_the_size_that_answers():
    todo = plan.make(read(), None)
    stages = {stage.label: stage for stage in Estimate(todo).stages()}
    half, whole = (stages[f"small static-{size} seed 0"].flops for size in ("half", "whole"))
    tiny, elastic = (stages[f"small {name} seed 0"].flops for name in ("static-tiny", "elastic"))
    assert tiny < half < whole < elastic == pytest.approx(whole + tiny)  # half is the whole with fewer layers
    assert stages["predict elastic-tiny seed 0"].flops < stages["predict elastic-whole seed 0"].flops
    assert stages["small elastic-tiny seed 0"].flops == stages["small elastic-tiny seed 0"].steps == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elastic.sizes.wide": {"feedforward": 97}}, r"has feedforward=96\. Received: feedforward=97"),
        ({"elastic.sizes.short": {"heads": 1}}, "are nested"),
        ({"elastic.sizes.whole": {"layers": 1}}, "names the sizes beside 'whole'"),
        ({"elastic.sizes.cat-whole": {"layers": 1}}, "make 'elastic-cat-whole' of another method"),
        ({"elastic.sizes.half.depth": 1}, "Unknown profile key"),
        ({"elastic.distil": 2}, "elastic.distil"),
        ({"methods": ["elastic-huge"]}, "Unknown method 'elastic-huge'"),
    ],
)
def test_sizes_that_no_profile_has_are_an_error(changes, message):
    with pytest.raises(CatKerasError, match=message):
        read(**changes)


def test_without_sizes_there_is_no_elastic_method():
    with pytest.raises(CatKerasError, match="Unknown method 'elastic'"):
        profile.read("embedded", SMALL | {"methods": ["elastic"]})
