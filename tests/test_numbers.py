"""Every numeric argument of the public API, given what nobody expects: a result or one clear error, and never NaN.

`ARGUMENTS` names each argument with a call that is given its value. `test_no_argument_is_forgotten` compares it with
the signatures, so that a new argument has to be put there.
"""

import functools
import inspect
import math
import tempfile
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest

import cat_keras as ck
from cat_keras import errors, retrieval
from cat_keras.cascades import calibration, rejection
from tests.faults import strange

NAN, INF = float("nan"), float("inf")
NEVER = (NAN, True, False, "x", "0.5", None, 1j, [], {}, object())  # what no numeric argument takes
ODD = (INF, -INF, -1, 0, 0.0, 1e-320, 1e-39, 1e39, 1e308, 2**31, 2**53, 10**30, 10**400, 10**5000, 0.5, Fraction(1, 3))


@pytest.fixture(scope="module")
def things(small, large, encoded, proto, examples):
    """What calls are made with, each made once."""
    n, both = 12, towers({"small": small})
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 2, n) for name in ("quality_small", "quality_large")}
    outcomes = ck.curves.Outcomes(rng.random(n), **columns, ids=list(map(str, range(n))))
    predictions = {
        "id": list(map(str, range(n))), "task": ["t"] * n, "token_logprobs": [[-0.1 * i] for i in range(n)],
        "option_logprobs": [[]] * n, **columns,
    }  # fmt: skip
    return {
        "small": small, "large": large, "data": encoded, "proto": proto, "examples": examples[:3],
        "tokenizer": small.preprocessor.tokenizer, "outcomes": outcomes, "curve": outcomes.curve(),
        "predictions": predictions, "pairs": {"t": {"m": outcomes, "o": outcomes}},
        "result": ck.bootstrap.bootstrap_audc({"t": {"m": outcomes}}, rng, 5, threads=1),
        "batches": ck.Batches(encoded, 8), "flops": ck.costs.FlopCount(1.0, 1.0, 1.0),
        "elastic": ck.elastic.Elastic(small, [{"feedforward": 8}]),
        "trainer": ck.CascadeAware(small, "xent"), "scores": rng.random(n), "right": columns["quality_small"],
        "generator": ck.Generator(small, [1]), "cascade": ck.SpeculativeCascade(small, large),
        "towers": both, "index": retrieval.Index(np.ones((4, 16)), "abcd", both.document.fingerprint),
    }  # fmt: skip


def predictor(t, **given):
    return ck.Predictor(t["small"], **{"max_new_tokens": 1} | given)


PROMPTS = [f"What is {i}?" for i in range(12)]


def streamed(t, max_length, piece):
    with tempfile.TemporaryDirectory() as folder:
        return ck.streaming.encode_to(f"{folder}/data", t["examples"], t["tokenizer"], max_length, "drop", piece=piece)


def router(t):
    return ck.routing.Router().fit(PROMPTS, t["right"], 1 - t["right"])


VECTORS = np.eye(4, dtype=np.float32)


def towers(t, **given):
    return retrieval.BiEncoder(retrieval.Tower(t["small"]), **given)


def adapted(t, **given):
    ck.lora.enable(t["small"], **{"rank": 1} | given)
    ck.lora.merge(t["small"])  # B is 0, so that the model of all other calls is as it was


def texts(t, max_length=9):
    return retrieval.Texts.encode(["Who?", "A heron.", "A vole.", "A newt."], t["tokenizer"], max_length)


def pairs(t, **given):
    arguments = {"batch_size": 2, "negatives": np.arange(4)[:, None]} | given
    return retrieval.Pairs(texts(t), texts(t), np.arange(4), **arguments)


def index(**given):
    return retrieval.Index(VECTORS, "abcd", "", **given)


def generator():
    return np.random.default_rng(0)


@functools.cache
def service():
    """Two servers under a dial, a stream of 20 requests, and the same simulated."""
    score = np.arange(8) / 8
    servers = (
        ck.serving.Server("small", ck.serving.Latency.of({1: [0.1], 2: [0.2]}), np.ones(8), score),
        ck.serving.Server("large", ck.serving.Latency.of({1: [1.0], 2: [1.5]}), np.ones(8)),
    )
    dial = ck.serving.Dial(ck.serving.Service(servers, batch=2), np.arange(8))
    policy, stream = ck.serving.policies.Fixed(dial.best), ck.serving.streams.poisson(0.5, 20)
    return servers, dial, policy, stream, ck.serving.simulate(dial.service, stream, policy)


def served_by(function, **given):
    """A call of a function of `ck.serving` with all that it needs."""
    servers, dial, policy, stream, served = service()
    if function is ck.serving.fit:
        family = ck.serving.policies.get("large")
        return function(family, dial, stream, **{"rate": 0.5, "budget": 9.0} | given)
    if function is ck.serving.breaking_rate:
        return function(dial, policy, stream, **{"budget": 9.0} | given)
    if function is ck.serving.simulate:
        return function(dial.service, stream, policy, **given)
    if function is ck.serving.quality_difference:
        return function(served, served, **{"resamples": 5} | given)
    if function is ck.serving.Dial:
        return function(dial.service, np.arange(8), **given).all
    return function(servers, **{"batch": 2} | given)


# Where (the object whose signature has them) → its numeric arguments → a call of `things` and the value.
ARGUMENTS = {
    **{
        where: {name: lambda t, x, where=where, name=name: served_by(where, **{name: x}) for name in names}
        for where, names in {
            ck.serving.fit: ("rate", "budget", "seed"), ck.serving.breaking_rate: ("budget", "seed"),
            ck.serving.simulate: ("seed",), ck.serving.quality_difference: ("blocks", "resamples", "seed"),
            ck.serving.Dial: ("levels",), ck.serving.Service: ("batch", "machines"),
        }.items()
    },
    ck.serving.Latency.mean: {"batch": lambda t, x: service()[0][0].latency.mean(x)},
    ck.serving.Latency.at_pace: {"pace": lambda t, x: service()[0][0].latency.at_pace(x)},
    ck.serving.Dial.alone: {"server": lambda t, x: service()[1].alone(x)},
    ck.serving.Dial.cascade: {"server": lambda t, x: service()[1].cascade(x)},
    ck.serving.Served.percentile: {"share": lambda t, x: service()[4].percentile(x)},
    ck.serving.Served.in_time: {"budget": lambda t, x: service()[4].in_time(x)},
    **{
        make: {
            name: lambda t, x, make=make, name=name: make(**{"rate": 1.0, "requests": 20, name: x})
            for name in ("rate", "requests", "seed")
        }
        for make in ck.serving.streams.STREAMS.values()
    },
    ck.serving.streams.scaled: {"rate": lambda t, x: ck.serving.streams.scaled(service()[3], x)},
    ck.Sampler: {
        name: lambda t, x, name=name: ck.Sampler(**{name: x}) for name in ("temperature", "top_k", "top_p", "seed")
    },
    ck.Predictor: {
        "max_length": lambda t, x: predictor(t, max_length=x),
        "max_new_tokens": lambda t, x: predictor(t, max_new_tokens=x),
        "batch_size": lambda t, x: predictor(t, batch_size=x),
        "beams": lambda t, x: predictor(t, beams=x),
    },
    ck.Generator: {"rows": lambda t, x: ck.Generator(t["small"], [1], rows=x)},
    ck.Generator.__call__: {"max_new_tokens": lambda t, x: x != 2**31 and t["generator"]([], x)},
    ck.SpeculativeCascade: {
        "alpha": lambda t, x: ck.SpeculativeCascade(t["small"], t["large"], "chow", x),
        "gamma": lambda t, x: ck.SpeculativeCascade(t["small"], t["large"], gamma=x),
        "max_length": lambda t, x: ck.SpeculativeCascade(t["small"], t["large"], max_length=x),
        "rows": lambda t, x: ck.SpeculativeCascade(t["small"], t["large"], rows=x),
    },
    ck.SpeculativeCascade.use: {"alpha": lambda t, x: t["cascade"].use("lossy", x)},
    ck.SpeculativeCascade.generate: {"max_new_tokens": lambda t, x: t["cascade"].generate([], x)},
    ck.speculative.check: {"alpha": lambda t, x: ck.speculative.check("token-v1", x)},
    ck.speculative.expected_tokens: {
        "acceptance": lambda t, x: ck.speculative.expected_tokens(x, 2),
        "gamma": lambda t, x: ck.speculative.expected_tokens(0.5, x),
    },
    ck.speculative.expected_speedup: {
        "acceptance": lambda t, x: ck.speculative.expected_speedup(x, 2, 0.1),
        "gamma": lambda t, x: ck.speculative.expected_speedup(0.5, x, 0.1),
        "small_cost": lambda t, x: ck.speculative.expected_speedup(0.5, 2, x),
    },
    ck.Cascade: {"thresholds": lambda t, x: ck.Cascade([t["small"], t["large"]], thresholds=[x])},
    ck.Cascade.calibrate: {
        name: lambda t, x, name=name: calibration.check_limit(None, **{name: x})
        for name in ("max_cost", "min_quality", "max_deferral")
    }
    | {"reject": lambda t, x: rejection.check_request(x, PROMPTS, "plugin-ood", None, t["examples"])},
    ck.Guarantee.p_values: {"alpha": lambda t, x: ck.Guarantee(0.1, 0.1).p_values(np.zeros((1, 9)), x)},
    ck.Guarantee: {
        "alpha": lambda t, x: ck.Guarantee(x, 0.1),
        "delta": lambda t, x: ck.Guarantee(0.1, x),
        "bound": lambda t, x: ck.Guarantee(0.1, 0.1, of="cost", bound=x),
    },
    ck.deferral.ChowQuantile: {"alpha": lambda t, x: ck.deferral.ChowQuantile(x)},
    ck.deferral.Random: {"seed": lambda t, x: ck.deferral.Random(x)},
    ck.learned.LearnedRule: {"bar": lambda t, x: ck.learned.LearnedRule(bar=x)},
    ck.learned.CrossFit: {
        "folds": lambda t, x: ck.learned.CrossFit(t["predictions"], folds=x),
        "seed": lambda t, x: ck.learned.CrossFit(t["predictions"], seed=x),
    },
    ck.routing.Router: {
        "margin": lambda t, x: ck.routing.Router(margin=x),
        "components": lambda t, x: ck.routing.Router(components=x),
    },
    ck.routing.FittedRouter.calibrate: {
        name: lambda t, x, name=name: router(t).calibrate(PROMPTS, [t["right"], np.ones(12)], **{name: x})
        for name in ("max_cost", "min_quality", "max_deferral")
    },
    ck.rejection.PluginOOD: {
        name: lambda t, x, name=name: ck.rejection.PluginOOD(**{name: x}) for name in ("c_fn", "inside")
    },
    ck.routing.soft_labels: {"margin": lambda t, x: ck.routing.soft_labels(t["right"], np.ones(12), x)},
    ck.routing.folds: {"count": lambda t, x: ck.routing.folds("t", PROMPTS, x)},
    ck.routing.states: {
        "max_length": lambda t, x: ck.routing.states(t["small"], PROMPTS[:1], x),
        "batch_size": lambda t, x: ck.routing.states(t["small"], PROMPTS[:1], 16, x),
    },
    ck.learned.cross_fitted: {
        "folds": lambda t, x: ck.learned.cross_fitted(ck.learned.LearnedRule(), t["predictions"], folds=x),
        "seed": lambda t, x: ck.learned.cross_fitted(ck.learned.LearnedRule(), t["predictions"], 6, seed=x),
    },
    ck.encode: {"max_length": lambda t, x: ck.encode(t["examples"], t["tokenizer"], x, long_targets="drop")},
    ck.streaming.encode_to: {
        "max_length": lambda t, x: streamed(t, x, 2),
        "piece": lambda t, x: streamed(t, 64, x),
    },
    ck.Batches: {
        "batch_size": lambda t, x: ck.Batches(t["data"], x),
        "batch_tokens": lambda t, x: ck.Batches(t["data"], batch_tokens=x),
        "seed": lambda t, x: ck.Batches(t["data"], 8, seed=x).batch(0),
        "buckets": lambda t, x: ck.Batches(t["data"], 8, buckets=x).batch(0),
    },
    ck.Batches.batch: {"step": lambda t, x: t["batches"].batch(x)},
    ck.CascadeAware: {"chunk": lambda t, x: ck.CascadeAware(t["small"], chunk=x)},
    ck.elastic.Size: {
        name: lambda t, x, name=name: ck.elastic.Size(**{name: x})
        for name in ("layers", "width", "heads", "feedforward")
    },
    ck.elastic.Loss: {"distil": lambda t, x: ck.elastic.Loss(distil=x)},
    ck.elastic.Trainer: {
        name: lambda t, x, name=name: ck.elastic.Trainer(t["elastic"], **{name: x}) for name in ("distil", "chunk")
    },
    ck.elastic.importance: {"steps": lambda t, x: ck.elastic.importance(t["small"], t["batches"], x)},
    ck.Schedule: {
        "peak": lambda t, x: ck.Schedule(x, 10)(3),
        "steps": lambda t, x: ck.Schedule(1e-3, x)(3),
        "warmup": lambda t, x: ck.Schedule(1e-3, 10, warmup=x)(3),
        "floor": lambda t, x: ck.Schedule(1e-3, 10, floor=x)(3),
    },
    ck.Schedule.__call__: {"step": lambda t, x: ck.Schedule(1e-3, 10)(x)},
    ck.losses.is_right: {"k": lambda t, x: ck.losses.is_right(np.zeros((1, 1, 4)), np.zeros((1, 1), int), x)},
    ck.train: {
        "accumulate": lambda t, x: trained(t, accumulate=x),
        "every_seconds": lambda t, x: trained(t, every_seconds=x),
    },
    ck.TeacherCache.build: {
        name: lambda t, x, name=name: ck.TeacherCache.build(t["large"], t["data"], **{"shard": 64, name: x})
        for name in ("k", "temperature", "seed", "batch_size", "shard")
    },
    ck.losses.CascadeAwareLoss: {
        name: lambda t, x, name=name: ck.losses.get("cat-dist", **{name: x})
        for name in ("w", "temperature", "k", "floor", "beta")
    },
    ck.losses.Salt: {
        name: lambda t, x, name=name: ck.losses.get("salt", **{"steps": 1, name: x})
        for name in ("steps", "omega", "temperature")
    },
    ck.losses.DeferToken: {
        name: lambda t, x, name=name: ck.losses.get("defer-token", **{name: x}) for name in ("token", "weight")
    },
    ck.losses.Gatekeeper: {"alpha": lambda t, x: ck.losses.get("gatekeeper", alpha=x)},
    ck.distribution.make_deterministic: {"seed": lambda t, x: deterministic(x)},
    ck.models.train_tokenizer: {"vocabulary_size": lambda t, x: ck.models.train_tokenizer(["a few words"] * 9, x)},
    ck.models.export: {  # a folder cannot be where a file is, so that a value which is taken ends there
        "max_length": lambda t, x: ck.models.export(t["small"], Path(__file__) / "export", max_length=x)
    },
    ck.models.build: {
        name: lambda t, x, name=name: ck.models.build(
            t["proto"], **{"layers": 1, "width": 16, "heads": 1, "feedforward": 16} | {name: x}
        )
        for name in ("layers", "width", "heads", "feedforward", "dropout", "seed")
    },
    ck.lora.enable: {
        name: lambda t, x, name=name: adapted(t, **{name: x}) for name in ("rank", "alpha", "seed")
    },
    ck.lora.initial: {"seed": lambda t, x: ck.lora.initial(t["small"], t["small"].get_weights(), x)},
    ck.Endpoint: {
        name: lambda t, x, name=name: ck.Endpoint("http://127.0.0.1:8000/v1", "tiny", **{name: x})
        for name in ("concurrency", "timeout", "retries")
    }
    | {
        "price": lambda t, x: ck.Endpoint("http://127.0.0.1:8000/v1", "tiny", price=(0, x)),
    },
    ck.costs.check_token_price: {"price": lambda t, x: ck.costs.check_token_price("price", (x, 0))},
    ck.costs.FlopCount: {
        "per_token": lambda t, x: ck.costs.FlopCount(x, 0, 0),
        "per_logit": lambda t, x: ck.costs.FlopCount(0, x, 0),
        "per_context": lambda t, x: ck.costs.FlopCount(0, 0, x),
        "idle_per_token": lambda t, x: ck.costs.FlopCount(0, 0, 0, x),
    },
    ck.costs.FlopCount.forward: {
        "n_prompt": lambda t, x: t["flops"].forward(x, 1),
        "n_answer": lambda t, x: t["flops"].forward(1, x),
        "n_logits": lambda t, x: t["flops"].forward(1, 1, x),
    },
    ck.costs.FlopCount.classify: {
        "n_prompt": lambda t, x: t["flops"].classify(x, [1]),
        "option_lengths": lambda t, x: t["flops"].classify(1, [x]),
    },
    ck.bootstrap.bootstrap_audc: {
        "resamples": lambda t, x: ck.bootstrap.bootstrap_audc(t["pairs"], generator(), x, 1),
        "threads": lambda t, x: ck.bootstrap.bootstrap_audc(t["pairs"], generator(), 3, x),
    },
    ck.bootstrap.AudcBootstrap.interval: {"level": lambda t, x: t["result"].interval("m", level=x)},
    **{
        draw: {
            "seeds": lambda t, x, draw=draw: draw(generator(), x, 2) if x != 2**31 else None,
            "resamples": lambda t, x, draw=draw: draw(generator(), 2, x),
        }
        for draw in (ck.bootstrap.draw_seeds, ck.bootstrap.seed_weights)
    },
    ck.bootstrap.weighted_audc: {"weights": lambda t, x: ck.bootstrap.weighted_audc(t["outcomes"], [[x] * 12])},
    ck.bands.bootstrap_bands: {
        "grid": lambda t, x: ck.bands.bootstrap_bands(t["pairs"], generator(), grid=[0.0, x], resamples=3, threads=1),
        "resamples": lambda t, x: ck.bands.bootstrap_bands(t["pairs"], generator(), resamples=x, threads=1),
        "level": lambda t, x: ck.bands.bootstrap_bands(t["pairs"], generator(), resamples=3, level=x, threads=1),
        "threads": lambda t, x: ck.bands.bootstrap_bands(t["pairs"], generator(), resamples=3, threads=x),
    },
    ck.bands.every_band: {
        name: lambda t, x, name=name: ck.bands.every_band(
            t["pairs"], generator(), scopes=None, models=None, versus=[None],
            **{"resamples": 3, "threads": 1} | {name: x},
        )
        for name in ("resamples", "level", "threads")
    },
    ck.confidence.reliability: {"bins": lambda t, x: ck.confidence.reliability(t["scores"], t["right"], x)},
    ck.confidence.ece: {"bins": lambda t, x: ck.confidence.ece(t["scores"], t["right"], x)},
    ck.confidence.density_overlap: {
        "points": lambda t, x: ck.confidence.density_overlap(t["scores"], t["right"], x)
    },
    ck.curves.Outcomes: {
        name: lambda t, x, name=name: ck.curves.Outcomes(t["scores"], t["right"], t["right"], **{name: x})
        for name in ("cost_small", "cost_large")
    },
    ck.curves.deferral_curve: {
        name: lambda t, x, name=name: ck.curves.deferral_curve(t["scores"], t["right"], t["right"], **{name: x})
        for name in ("cost_small", "cost_large")
    },
    ck.curves.macro_average: {"grid": lambda t, x: ck.curves.macro_average({"t": t["curve"]}, ["t"], [0, x, 1])},
    ck.DeferralCurve.s_d: {"ideal_audc": lambda t, x: t["curve"].s_d(x)},
    ck.DeferralCurve.cpt: {"recovered": lambda t, x: t["curve"].cpt(x)},
    ck.DeferralCurve.quality_at: {"rate": lambda t, x: t["curve"].quality_at(x)},
    ck.DeferralCurve.cost_at_quality: {"quality": lambda t, x: t["curve"].cost_at_quality(x)},
    ck.DeferralCurve.quality_at_cost: {"cost": lambda t, x: t["curve"].quality_at_cost(x)},
    ck.DeferralCurve.aiq: {"low": lambda t, x: t["curve"].aiq(x, 1e3), "high": lambda t, x: t["curve"].aiq(0, x)},
    ck.significance.two_sided: {
        "scale": lambda t, x: ck.significance.two_sided([0.1, -0.1], x),
        "examples": lambda t, x: ck.significance.two_sided([0.1, -0.1], examples=x),
    },
    ck.tune: {
        name: lambda t, x, name=name: ck.tune(t["scores"], [t["right"], np.ones(12)], **{"max_cost": 1.0} | {name: x})
        for name in ("max_cost", "held_out", "seed")
    }
    | {
        name: lambda t, x, name=name: ck.tune(t["scores"], [t["right"], np.ones(12)], **{name: x})
        for name in ("min_quality", "max_deferral")
    }
    | {
        "reject": lambda t, x: ck.tune(
            t["scores"], [t["right"], np.ones(12)], max_deferral=0.5, reject=x, rejection=t["scores"]
        )
    },
    ck.Policy: {"thresholds": lambda t, x: ck.Policy(("a", "b"), (ck.deferral.get("random"),), (x,))},
    ck.Policy.keeps: {
        "stage": lambda t, x: ck.Policy(("a", "b"), (ck.deferral.get("random"),), (0.5,)).keeps(x, t["predictions"])
    },
    retrieval.Texts.encode: {"max_length": texts},
    retrieval.Tower: {
        name: lambda t, x, name=name: retrieval.Tower(t["small"], **{name: x}) for name in ("dim", "seed")
    },
    retrieval.BiEncoder: {
        name: lambda t, x, name=name: towers(t, **{name: x}) for name in ("temperature", "matched", "seed")
    },
    retrieval.Ranker: {"temperature": lambda t, x: retrieval.Ranker(t["small"], x)},
    retrieval.ElasticDenser: {"temperature": lambda t, x: retrieval.ElasticDenser(t["elastic"], temperature=x)},
    retrieval.ElasticRanker: {"temperature": lambda t, x: retrieval.ElasticRanker(t["elastic"], temperature=x)},
    retrieval.ElasticObjective: {"distil": lambda t, x: retrieval.ElasticObjective(distil=x)},
    retrieval.ElasticRetriever: {
        "distil": lambda t, x: retrieval.ElasticRetriever(retrieval.ElasticDenser(t["elastic"]), distil=x)
    },
    retrieval.Objective: {
        name: lambda t, x, name=name: retrieval.Objective(**{name: x})
        for name in ("labels", "scores", "queries", "documents")
    },
    retrieval.EncoderTeaching: {"temperature": lambda t, x: retrieval.EncoderTeaching(VECTORS, VECTORS, x)},
    retrieval.EncoderTeaching.of: {
        "batch_size": lambda t, x: retrieval.EncoderTeaching.of(towers(t), texts(t), texts(t), x)
    },
    retrieval.RankerTeaching.of: {
        "batch_size": lambda t, x: retrieval.RankerTeaching.of(
            retrieval.Ranker(t["small"]), texts(t), texts(t), np.arange(4)[:, None], x
        )
    },
    retrieval.Pairs: {
        name: lambda t, x, name=name: pairs(t, **{name: x}) for name in ("batch_size", "hard", "seed", "buckets")
    },
    retrieval.Pairs.batch: {"step": lambda t, x: pairs(t).batch(x)},
    retrieval.embed: {
        name: lambda t, x, name=name: retrieval.embed(retrieval.Tower(t["small"]), texts(t), **{name: x})
        for name in ("batch_size", "buckets")
    },
    retrieval.rank: {"depth": lambda t, x: retrieval.rank(VECTORS, x)},
    retrieval.rerank: {"depth": lambda t, x: retrieval.rerank(VECTORS, np.tile(np.arange(4), (4, 1)), x)},
    retrieval.Index: {name: lambda t, x, name=name: index(**{name: x}) for name in ("max_length", "cells", "probes")},
    retrieval.Index.build: {
        name: lambda t, x, name=name: retrieval.Index.build(
            retrieval.Tower(t["small"]), texts(t), list("abcd"), **{name: x}
        )
        for name in ("cells", "probes", "batch_size")
    },
    retrieval.Index.approximate: {
        name: lambda t, x, name=name: index().approximate(**{"cells": 1} | {name: x}) for name in ("cells", "probes")
    },
    retrieval.Index.nearest: {"k": lambda t, x: index().nearest(VECTORS, x)},
    retrieval.Index.search: {
        name: lambda t, x, name=name: t["index"].search(t["towers"], texts(t), **{"k": 1} | {name: x})
        for name in ("k", "batch_size")
    },
}  # fmt: skip
CASES = [(where, name) for where, names in ARGUMENTS.items() for name in names]
# Names that take None for "none of it" or "by default".
OPTIONAL = {
    "batch_size", "batch_tokens", "chunk", "threads", "n_logits", "bound", "low", "high", "max_cost", "min_quality",
    "max_deferral", "cost_small", "cost_large", "examples",
}  # fmt: skip
# Names of arrays: none of no entries is an error, and NumPy makes numbers of true and false beside numbers.
ARRAYS = dict.fromkeys(("acceptance", "n_prompt", "n_answer", "n_logits", "rate", "max_new_tokens"), ([],))
ARRAYS |= dict.fromkeys(("grid",), (True, False)) | {"weights": ()}
# The cost of an undefined quality, NaN, is undefined, and a cost that is not known is NaN.
MAY_BE_NAN = {(ck.DeferralCurve.cost_at_quality, "quality")} | {
    (ck.costs.FlopCount, n) for n in ARGUMENTS[ck.costs.FlopCount]
}
MAY_BE_NAN |= {(ck.DeferralCurve.quality_at_cost, "cost")}
MAY_BE_NAN |= {(w, n) for w, n in CASES if n in ("cost_small", "cost_large")}
MAY_BE_NONE = {(where, name) for where, name in CASES if name in OPTIONAL}
MAY_BE_NONE |= {(ck.elastic.Size, name) for name in ARGUMENTS[ck.elastic.Size]}
MAY_BE_NONE |= {(ck.tune, "reject"), (ck.rejection.PluginOOD, "inside"), (ck.Cascade.calibrate, "reject")}
MAY_BE_NONE |= {(ck.routing.Router, "margin"), (ck.models.export, "max_length")}
MAY_BE_NONE |= {(ck.lora.enable, "alpha")}
MAY_BE_NONE |= {(retrieval.Tower, "dim"), (retrieval.BiEncoder, "matched")}
MAY_BE_NONE -= {(where, "batch_size") for where in ARGUMENTS if where.__module__.startswith("cat_keras.retrieval")}


def trained(t, **given):
    t["trainer"].compile(keras.optimizers.SGD(1e-3))
    return ck.train(t["trainer"], t["batches"], ck.Schedule(1e-3, 0), **given)


def deterministic(seed):
    """Only the check of the seed, since the whole process would be changed."""
    errors.check_number("seed", seed, "[0, 4294967295]", whole=True)


def label(case):
    return f"{getattr(case, '__qualname__', case)}"


@pytest.mark.parametrize(("where", "name"), CASES, ids=label)
def test_a_result_or_one_error(things, where, name):
    call = functools.partial(ARGUMENTS[where][name], things)
    for value in NEVER[(where, name) in MAY_BE_NAN :]:
        if (value is None and (where, name) in MAY_BE_NONE) or (value in ARRAYS.get(name, ()) and value == value):
            continue
        with pytest.raises(ck.CatKerasError) as raised:
            call(value)
        strange.check_message(str(raised.value))
    for value in ODD:
        strange.result_or_error(call, value)


NUMERIC = {int, float, int | None, float | None}
# Arguments with such an annotation or default that are no input of a user, or are results.
NOT_ASKED = {
    "Prediction", "Encoded", "Calibration", "Band", "Interval", "Masses", "Reliability", "Distribution", "Generated",
    "Progress", "Fitted",
}  # fmt: skip


# Arguments that the library gives to itself, or that are tensors of a compiled step.
INTERNAL = {
    "of_config": ("per_token", "idle_per_token", "more_per_logit"),
    "Batches.capacity": ("length", "rows"), "CascadeAware.step": ("accumulate", "steps"),
    "CascadeAware.prepared": ("accumulate", "steps"), "target": ("alpha",),
    "Sampler.uniforms": ("prompt", "count"), "check_positions": ("tokens",), "of_tokens": ("n_prompt", "n_answer"),
    "FittedRouter": ("bias",), "DensityRatio": ("bias", "inside"), "DensityRatio.fit": ("inside",),
    "Action": ("server", "threshold", "deferral", "quality"), "Policy.__call__": ("waiting", "age"),
    "Served": ("batches",), "Rejection": ("budget", "rejected", "threshold"),
    "Rejection.fit": ("budget",), "embeddings": ("width",),
    "Texts": ("max_length", "cut"), "Retriever.step": ("accumulate", "steps"),
    "SpeculativeCascade.extend": ("token", "limit"),
    "EncoderTeaching.check": ("queries", "documents", "candidates"),
    "RankerTeaching.check": ("queries", "documents", "candidates"),
}  # fmt: skip


def public():
    """Every public class, function and method."""
    for name in ck.__all__:
        thing = getattr(ck, name)
        owners = [thing]
        if inspect.ismodule(thing):
            owners = [v for k, v in vars(thing).items() if not k.startswith("_") and callable(v)]
            owners = [v for v in owners if getattr(v, "__module__", "").startswith(thing.__name__)]
        for owner in owners:
            if getattr(owner, "__name__", "") in NOT_ASKED:
                continue
            yield owner
            if inspect.isclass(owner):
                yield from (
                    getattr(owner, k)
                    for k, v in vars(owner).items()
                    if (not k.startswith("_") or k == "__call__")
                    and callable(getattr(owner, k))
                    and not isinstance(v, property)
                )


def test_no_argument_is_forgotten():
    asked = {(getattr(where, "__qualname__", ""), name) for where, name in CASES}
    forgotten = set()
    for thing in public():
        try:
            signature = inspect.signature(thing)
        except (TypeError, ValueError):
            continue
        for parameter in signature.parameters.values():
            number = parameter.annotation in NUMERIC or type(parameter.default) in (int, float)
            if number and (thing.__qualname__, parameter.name) not in asked:
                forgotten.add(f"{thing.__qualname__}: {parameter.name}")
    forgotten -= {f"{thing}: {name}" for thing, names in INTERNAL.items() for name in names}
    assert not forgotten, sorted(forgotten)


def test_the_faults_that_were_reported():
    for call in (
        lambda: ck.Sampler(temperature=NAN),
        lambda: ck.Sampler(temperature=1e-39),
        lambda: ck.Schedule(peak=NAN, steps=10),
        lambda: ck.Schedule(peak=-1, steps=10),
        lambda: ck.Schedule(peak=1e-3, steps=10, warmup=11),
    ):
        with pytest.raises(ck.CatKerasError, match="Received"):
            call()


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1]", (0, 1, 0.5, np.float32(0.5), np.int64(1)), (-1e-320, 1 + 1e-15)),
        ("(0, 1)", (1e-320, 0.5), (0, 1)),
        ("[0, inf)", (0, 1e308), (INF, 10**400)),
        ("[-inf, inf]", (INF, -INF, 0), ()),
    ],
)
def test_intervals(interval, inside, outside):
    for value in inside:
        assert errors.check_number("x", value, interval) == value
    for value in (*outside, NAN, True, "0", None):
        with pytest.raises(ck.CatKerasError, match="x is a number in"):
            errors.check_number("x", value, interval)
    with pytest.raises(ck.CatKerasError, match="x is a whole number in"):
        errors.check_number("x", 0.5, interval, whole=True)


def test_arrays():
    assert errors.check_numbers("x", [[0, 1], [0.5, 1]], "[0, 1]").dtype == np.float64
    assert errors.check_numbers("x", [], "[0, 1]").size == 0
    for bad in ([0, NAN], [0, 2], ["a"], [[0], [0, 1]], [True], None, [10**400]):
        with pytest.raises(ck.CatKerasError, match="x"):
            errors.check_numbers("x", bad, "[0, 1]")
    assert not math.isnan(errors.check_numbers("x", 1, "[1, 3]", whole=True))
