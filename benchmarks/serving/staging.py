"""Models of a run as a service: what each would answer to the run's test examples, and how long it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.reading.load import Run
from benchmarks.serving import latencies
from benchmarks.tuning.stages import Asked, Staged, large_name, staged
from cat_keras.errors import CatKerasError
from cat_keras.serving import Server, Service

BATCH = 32  # requests that are answered together, by default and where larger batches were measured


@dataclass(frozen=True, eq=False)
class Setup:
    """A service and the examples that its requests are served with.

    Attributes:
        service: it. staged: the answers, in the order of its examples.
        fitting, judging: places of the examples that knobs are fitted on, and of those that policies are judged on.
        source: where the latencies come from. seed: of the small models.
    """

    service: Service
    staged: Staged
    fitting: np.ndarray
    judging: np.ndarray
    source: str
    seed: int


def setup(run: Run, models: Sequence[str], asked: Asked, latency: Path | None = None, batch: int = 0,
          machines: int = 1) -> Setup:  # fmt: skip
    """The service of some models of a run.

    Args:
        run: a finished run. models: in order, the last is what others defer to; by default the small model that answers
            best alone, and the large one. asked: rule, seed, tasks, and the share of the examples to judge on.
        latency: a file, see `latencies`. batch: requests that are answered together, 0 for 32 or as many as were
            measured. machines: how many.

    Raises:
        CatKerasError: as `staged`, `latencies.of_models` and `Service`.
    """
    models = tuple(models) or (best(run, asked.seed), large_name(run))
    if len(models) < 2:
        raise CatKerasError(f"A service has two models or more. Received: {models[0]} alone. Add the large one")
    columns = staged(run, models, asked)
    measured, source = latencies.of_models(run, models, asked.seed, latency)
    quality = np.clip(columns.quality, 0, 1)
    scores = [*columns.scores, None]
    servers = tuple(map(Server, columns.models, measured, quality, scores))
    size = batch or min(BATCH, *(each.most for each in measured))
    rows = np.arange(len(columns.ids))
    judged = round(columns.held_out * len(rows))
    fitting, judging = np.split(rows, [len(rows) - judged])
    return Setup(Service(servers, size, machines), columns, fitting, judging, source, asked.seed)


def best(run: Run, seed: int) -> str:
    """The small model with the best answers of its own."""

    def quality(method):
        cells = [run.small.get((method, seed, name)) for name in run.covered]
        return -1.0 if None in cells else float(np.mean([cell["quality"].mean() for cell in cells]))

    return max(run.methods, key=quality)
