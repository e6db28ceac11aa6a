"""Speed of a training step, in ratios: `python -m benchmarks perf training`.

Objectives against plain Keras cross-entropy `fit` of the same model; `xent` against a plain PyTorch GPT; the share of
the machine's matrix-product ceiling. All within one run, in turns.
"""

from collections.abc import Sequence
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired, workload
from benchmarks.perf.peer import started
from cat_keras import training
from cat_keras.errors import unknown_name
from cat_keras.modeling import costs

BATCH, LENGTH, TARGET, STEPS = 32, 128, 32, 8
PARTS = ("objectives", "ceiling", "peer")


def measure(rounds: int = 5, parts: Sequence[str] = ()):
    """Writes the tables `objectives`, `ceiling` and `peer`, or some of them.

    Args:
        rounds: of `STEPS` steps each, see `paired.rounds`. parts: of `PARTS`; all by default.

    Raises:
        CatKerasError: there is no such part.
    """
    if unknown := [name for name in parts if name not in PARTS]:
        raise unknown_name("part", unknown[0], PARTS)
    parts = parts or PARTS
    proto = workload.tokenizer()
    note = (
        f"Batches of {BATCH} x {LENGTH} tokens, the last {TARGET} of each example being its target, 4,096 pieces, "
        f"AdamW with clipping, XLA. Medians of {rounds} rounds of {STEPS} steps; ratios of the same round. "
    )
    if "objectives" in parts:
        table = objectives(proto, rounds)
        paired.keep("objectives", table, note + "Small model 1M, large model 6M parameters.")
    if "ceiling" in parts:
        paired.keep("ceiling", share_of_ceiling(proto, rounds), note + "FLOPs counted from the architecture.")
    if "peer" in parts and find_spec("torch") is None:
        print("No comparison with PyTorch, which is not installed: pip install torch")
    elif "peer" in parts:
        paired.keep("peer", peers(proto, rounds), note + "The peer is `benchmarks/perf/torch_gpt.py`.")


def optimizer():
    return keras.optimizers.AdamW(1e-3, global_clipnorm=1.0)


def ours(proto: bytes, shape: str, data: ck.Encoded, objective: str, cache=None, teacher=None):
    """A function that trains `STEPS` steps.

    Args:
        proto: of the tokenizer. shape: of the model, see `workload.SHAPES`. objective: its name.
        cache: a `TeacherCache`, or teacher: a model, for an objective that reads one.
    """
    trainer = ck.CascadeAware(workload.model(proto, shape), objective, teacher=teacher)
    trainer.compile(optimizer(), jit_compile=True)
    scope = "all" if objective == "all" else "target"
    # Columns of the start that `defer-token` reads: whose they are does not matter to the time of a step.
    batches = ck.Batches(data, BATCH, loss=trainer.objective, teacher=cache, start=cache, buckets=1, scope=scope)
    return lambda: training.train(trainer, batches, training.Schedule(1e-3, STEPS))


def plain_fit(proto: bytes, shape: str, data: ck.Encoded):
    """A function that runs Keras' own loop over the same batches: stock loss, weights of the target tokens."""
    built = workload.model(proto, shape)
    model = keras.Model(built.input, built.output)  # a CausalLM itself would tokenize again
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    batches = ck.Batches(data, BATCH, buckets=1)
    model.fit(batches, epochs=1, verbose=0)
    return lambda: model.fit(batches, epochs=1, verbose=0)


def peer(shape: str, data: ck.Encoded):
    """The process of PyTorch that takes the same steps, see `torch_gpt`: a context of (ask, size of its model)."""
    spec = {k: v for k, v in workload.SHAPES[shape].items() if k != "feedforward"}
    batches = [ck.Batches(data, BATCH, buckets=1).batch(i) for i in range(STEPS)]
    ids = np.array([inputs["token_ids"] for inputs, _, _ in batches])
    labels = np.array([labels for _, labels, _ in batches])
    weights = np.array([weights for _, _, weights in batches])
    return started("torch_gpt", spec, ids=ids, labels=labels, weights=weights)


def ceiling():
    """A function that multiplies 2048² float32 matrices, often enough to be timed, and the FLOPs of one call."""
    import tensorflow as tf

    a, b = tf.random.normal((2048, 2048)), tf.random.normal((2048, 2048))
    return lambda: [tf.matmul(a, b) for _ in range(8)][-1].numpy(), 8 * 2 * 2048**3


def flops(model) -> float:
    """Of the steps of one call: forward once, backward twice, logits of the target tokens alone."""
    count = costs.count(model)
    per_example = count.per_token * LENGTH + count.per_logit * TARGET + count.per_context * LENGTH * (LENGTH + 1) / 2
    return 3 * STEPS * BATCH * per_example


def objectives(proto: bytes, count: int) -> pd.DataFrame:
    """What a step of each objective costs, relative to Keras' own loop and to `xent`."""
    data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
    large = workload.model(proto, "6M")
    cache = ck.TeacherCache.build(large, data, k=32)
    bits = ck.TeacherCache.build(large, data, "none")
    trainings = {
        "Keras fit, cross-entropy": plain_fit(proto, "1M", data),
        "xent": ours(proto, "1M", data, "xent"),
        "cat-xent, cached bits": ours(proto, "1M", data, "cat-xent", bits),
        "cat-dist, cached top 32": ours(proto, "1M", data, "cat-dist", cache),
        "defer-token, cached bits": ours(proto, "1M", data, "defer-token", bits),
        "cat-xent, live teacher": ours(proto, "1M", data, "cat-xent", teacher=workload.model(proto, "6M")),
        "cat-dist, live teacher": ours(proto, "1M", data, "cat-dist", teacher=workload.model(proto, "6M")),
    }
    seconds = paired.rounds(trainings, count)
    promised = {"cat-xent, cached bits": "≤ 1.03", "cat-dist, cached top 32": "≤ 1.12"}
    promised |= {"defer-token, cached bits": "≤ 1.1"}
    return pd.DataFrame(
        {
            "training": name,
            "ms per step": 1000 * float(seconds[name].median()) / STEPS,
            "relative to Keras fit": paired.ratio(seconds, name, "Keras fit, cross-entropy"),
            "relative to xent": paired.ratio(seconds, name, "xent"),
            "promise (to Keras fit)": promised.get(name, ""),
        }
        for name in trainings
    )


def peers(proto: bytes, count: int) -> pd.DataFrame:
    """Tokens per second of `xent` and of PyTorch, for both shapes, loss on some or all tokens."""
    rows = []
    for shape, promise in (("1M", "≥ 1.7"), ("6M", "≥ 1.6")):
        for target, loss_on in ((TARGET, "a quarter of the tokens are targets"), (LENGTH, "all tokens are targets")):
            data = workload.data(proto, BATCH * STEPS, LENGTH, target)
            with peer(shape, data) as (ask, size):
                libraries = {"ours": ours(proto, shape, data, "xent"), "torch": lambda: ask("go")}
                seconds = paired.rounds(libraries, count)
            tokens = BATCH * STEPS * LENGTH
            rows.append(
                {
                    "model": shape,
                    "loss on": loss_on,
                    "parameters, ours": workload.model(proto, shape).count_params(),
                    "parameters, PyTorch": int(size),
                    "tokens/s, ours": tokens / float(seconds["ours"].median()),
                    "tokens/s, PyTorch": tokens / float(seconds["torch"].median()),
                    "ours / PyTorch": paired.ratio(seconds, "torch", "ours"),
                    "promise": promise,
                }
            )
    return pd.DataFrame(rows)


def share_of_ceiling(proto: bytes, count: int) -> pd.DataFrame:
    """FLOPs per second of training, and of nothing but matrix products."""
    data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
    multiply, products = ceiling()
    seconds = paired.rounds({"train": ours(proto, "6M", data, "xent"), "multiply": multiply}, count)
    work = flops(workload.model(proto, "6M"))
    return pd.DataFrame(
        [
            {
                "model": "6M",
                "GFLOP/s, training": work / float(seconds["train"].median()) / 1e9,
                "GFLOP/s, 2048² product": products / float(seconds["multiply"].median()) / 1e9,
                "share": float(np.median((work / seconds["train"]) / (products / seconds["multiply"]))),
                "promise": "≥ 0.75",
            }
        ]
    )
