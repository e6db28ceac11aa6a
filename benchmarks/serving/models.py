"""The real models of a run: how long their batches take, and a stream of requests that they answer in real time."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.reading.load import Run
from benchmarks.running import trained
from benchmarks.serving import latencies
from benchmarks.serving.staging import Setup
from benchmarks.tuning.stages import LARGE, large_name
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.serving import Policy, Served, simulate, simulation

SIZES = (1, 2, 4, 8, 16, 32)
REPEATS = 40  # batches of a size that are measured
WARMUP = 20  # batches of a size before, which compile what later ones run


def predictors(run: Run, cache: Path, models: Sequence[str], seed: int) -> list:
    """A `Predictor` of each model, as the run asked it.

    Raises:
        CatKerasError: the run has no texts or no models of its own, or its cache holds them no more.
    """
    if not run.has_text or not run.manifest.get("settings") or not run.manifest.get("cells"):
        raise CatKerasError(
            f"Real models answer the questions of their own run. Received: {run.folder}, which keeps no texts or names "
            "no models. Give the folder of a run"
        )
    large = (LARGE, large_name(run))
    places = [
        trained.preset(run.manifest, cache, "large", trained.LARGE)
        if model in large
        else trained.preset(run.manifest, cache, "small", (f"small {model} seed {seed}",))
        for model in models
    ]
    from cat_keras.data.chat import Chat  # late: bad input loads no TensorFlow
    from cat_keras.decoding.predictor import Predictor
    from cat_keras.modeling import models as presets

    limits = run.manifest["settings"]["data"]
    return [
        Predictor(
            presets.load(place), max_length=limits["max_length"], max_new_tokens=limits["max_new_tokens"],
            stop=limits.get("stop", ()), compare=limits.get("compare", "sum"),
            chat=Chat(**limits["chat"]) if limits.get("chat") else None,
        )
        for place in places
    ]  # fmt: skip


def examples(run: Run, tasks: Sequence[str], ids: Sequence[str]) -> list[Example]:
    """Test examples of a run by task and id, as the answers of a `Staged` are in order."""
    known = {(name, e.id): e for name in run.covered for e in run.examples[name]}
    return [known[name, id] for name, id in zip(tasks, ids, strict=True)]


def measure(answerers: Sequence, names: Sequence[str], asked: Sequence[Example], sizes: Sequence[int] = SIZES,
            repeats: int = REPEATS, progress=None, seed: int = 0) -> list[tuple[str, int, float]]:  # fmt: skip
    """Seconds of batches of random test examples: (model, batch, seconds) for each.

    Batches of all sizes take turns, so that what else the machine does touches all of them alike.

    Args:
        answerers: predictors. names: of their models. asked: examples to draw from. sizes: of the batches.
        repeats: batches of each size. progress: called with the number of batches newly done.
    """
    rng, rows = np.random.default_rng(seed), []
    for name, answer in zip(names, answerers, strict=True):
        for number in range(WARMUP + repeats):
            for size in sizes:
                batch = [asked[i] for i in rng.integers(len(asked), size=size)]
                started = time.perf_counter()
                answer(batch)
                if number >= WARMUP:
                    rows.append((name, size, time.perf_counter() - started))
            if progress:
                progress(len(sizes))
    return rows


def roles(run: Run, models: Sequence[str]) -> list[str]:
    """The names under which latencies are stored: two models of a run have one architecture each."""
    large = (LARGE, large_name(run))
    names = [LARGE if model in large else latencies.SMALL for model in models]
    return names if len(models) == 2 else [LARGE if model in large else model for model in models]


def machine() -> tuple[str, float]:
    """This machine, and how many processes ran on it over the last minute."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", os.getloadavg()[0]


@dataclass(frozen=True)
class Comparison:
    """A policy in real time and simulated, on the same requests: latencies in seconds, shares of the requests.

    Attributes:
        as_stored: share of the answers of real models that say what the run stored.
        pace: seconds of the batches in real time, over those that batches of their sizes were measured to take.
        at_pace_p50, at_pace_p99: simulated with the latencies of each server times its pace. What these are off is
            the simulation's own error; the rest is that the machine was not as fast as when it was measured.
    """

    policy: str
    requests: int
    rate: float
    real_p50: float
    real_p99: float
    simulated_p50: float
    simulated_p99: float
    real_quality: float
    simulated_quality: float
    as_stored: float
    pace: float
    at_pace_p50: float
    at_pace_p99: float


def compare(setup: Setup, run: Run, answerers: Sequence, name: str, policy: Policy, stream: np.ndarray,
            seed: int = 0) -> Comparison:  # fmt: skip
    """Replays a stream on the real models as long as it lasts, and in the simulation.

    Args:
        setup: the service. answerers: predictors of its servers. name, policy: it. stream: arrivals, at their rate.
    """
    columns = setup.staged
    asked = examples(run, columns.tasks, columns.ids)
    stored = _stored(run, columns, setup)
    agreement, taken = [], []

    def answer(server, rows):
        started = time.perf_counter()
        predictions = answerers[server]([asked[row] for row in rows])
        taken.append((server, len(rows), time.perf_counter() - started))
        for row, prediction in zip(rows, predictions, strict=True):
            agreement.append(prediction.text == stored[server][row])

    real = simulation.run_real(setup.service, stream, policy, answer, setup.judging)
    simulated = simulate(setup.service, stream, policy, setup.judging, seed)
    paces, pace = _paces(setup.service, taken)
    at_pace = simulate(setup.service.at_pace(paces), stream, policy, setup.judging, seed)
    rate = (len(stream) - 1) / (stream[-1] - stream[0])
    return Comparison(
        name, len(stream), float(rate), *_percentiles(real), *_percentiles(simulated), float(real.quality.mean()),
        float(simulated.quality.mean()), float(np.mean(agreement)), pace, *_percentiles(at_pace),
    )  # fmt: skip


def _paces(service, taken: Sequence[tuple[int, int, float]]) -> tuple[list[float], float]:
    """Real over measured seconds of the batches of each server, 1 of a server without any; and of all batches.

    Args:
        taken: (server, requests in the batch, seconds).
    """
    real, measured = np.zeros(len(service.servers)), np.zeros(len(service.servers))
    for server, size, seconds in taken:
        real[server] += seconds
        measured[server] += service.servers[server].latency.mean(size)
    paces = np.divide(real, measured, out=np.ones_like(real), where=measured > 0)
    return [float(pace) for pace in paces], float(real.sum() / measured.sum())


def _percentiles(served: Served) -> Iterator[float]:
    return map(served.percentile, (0.5, 0.99))


def _stored(run: Run, columns, setup: Setup) -> list[list[str]]:
    """Per server the texts that the run stored, in the order of the examples."""
    large = (LARGE, large_name(run))
    tables = []
    for server in setup.service.servers:
        texts = {}
        for name in run.covered:
            cell = run.large[name] if server.name in large else run.small[server.name, setup.seed, name]
            texts |= {(name, id): text for id, text in zip(run.examples[name].ids, cell["text"], strict=True)}
        tables.append([texts[name, id] for name, id in zip(columns.tasks, columns.ids, strict=True)])
    return tables
