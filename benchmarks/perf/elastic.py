"""What a step over all sizes of an elastic model costs: `python -m benchmarks perf elastic`.

Time against the steps of each size trained alone, in turns; memory in processes of their own, against the whole alone.
"""

import json
import sys

import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired, workload
from benchmarks.perf.training import BATCH, LENGTH, STEPS, TARGET, optimizer
from cat_keras import training
from cat_keras.storage import processes

# Name → sizes beside the whole, of the shape 1M: three layers, 340 units, 4 heads.
LADDERS = {
    "layers": [{"layers": 2}, {"layers": 1}],
    "layers and units": [{"layers": 2}, {"layers": 2, "feedforward": 170}, {"layers": 1, "feedforward": 170}],
    "units": [{"feedforward": 170}, {"feedforward": 85}],
    "heads and units": [{"feedforward": 170, "heads": 2}, {"feedforward": 85, "heads": 1}],
}
ALL, WHOLE = "all sizes", "the whole"


def measure(rounds: int = 5):
    """Writes the table `elastic`.

    Args:
        rounds: of `STEPS` steps each, see `paired.rounds`.
    """
    rows = [_row(name, rounds) for name in LADDERS]
    note = (
        f"1M parameters, batches of {BATCH} x {LENGTH} tokens, the last {TARGET} of each example its target; XLA. "
        f"Medians of {rounds} rounds of {STEPS} steps, ratios of the same round. Memory: growth of a process from "
        "before the model to its peak, compiler included."
    )
    paired.keep("elastic", pd.DataFrame(rows), note)


def _row(name: str, rounds: int) -> dict:
    proto = workload.tokenizer()
    data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
    elastic = ck.elastic.Elastic(workload.model(proto, "1M"), LADDERS[name])
    alone = {str(size): _steps(ck.CascadeAware(elastic.extract(size), "xent"), data) for size in elastic.sizes}
    seconds = paired.rounds({ALL: _steps(ck.elastic.Trainer(elastic), data), **alone}, rounds)
    seconds["sum"] = seconds[list(alone)].sum(axis=1)
    together, whole = (paired.in_own_process("elastic", name, what) for what in (ALL, WHOLE))
    return {
        "sizes differ in": name,
        "sizes": len(elastic.sizes),
        "ms per step, all sizes": 1000 * float(seconds[ALL].median()) / STEPS,
        "ms, sum of each alone": 1000 * float(seconds["sum"].median()) / STEPS,
        "ratio": paired.ratio(seconds, ALL, "sum"),
        "promise": "≤ 0.7",
        "MiB, all sizes": together,
        "MiB, the whole alone": whole,
        "memory ratio": together / whole,
        "promise of memory": "≤ 1.3",
    }


def _steps(trainer, data):
    """A function that trains `STEPS` steps."""
    trainer.compile(optimizer(), jit_compile=True)
    batches = ck.Batches(data, BATCH, buckets=1)
    return lambda: training.train(trainer, batches, training.Schedule(1e-3, STEPS))


def peak(name: str, what: str) -> float:
    """MiB by which training grows this process."""
    proto = workload.tokenizer()
    data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
    before = processes.peak_memory()
    model = workload.model(proto, "1M")
    elastic = what == ALL and ck.elastic.Elastic(model, LADDERS[name])
    _steps(ck.elastic.Trainer(elastic) if elastic else ck.CascadeAware(model, "xent"), data)()
    return (processes.peak_memory() - before) / 2**20


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", name, what]:  # how `paired.in_own_process` starts it
            print(json.dumps(peak(name, what)))
        case _:
            sys.exit("Measure with: python -m benchmarks perf elastic")
