"""Speed of a training step, in ratios: `python -m benchmarks perf training [PART…]`.

objectives: CAT against plain cross-entropy and Keras `fit`. ceiling: the share of the machine's matrix-product ceiling.
auto: what the device chooses against all other ways; dropout: the same of models with dropout. peer, peer-bfloat16:
against a plain PyTorch GPT, eager and compiled, and against a step written by hand in TensorFlow. overhead: of a step
of a tiny model. All in turns.
"""

from collections.abc import Sequence
from contextlib import ExitStack
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
from cat_keras.training import device, distribution
from cat_keras.training.step import Step

BATCH, LENGTH, TARGET, STEPS = 32, 128, 32, 8
DROPOUT = 0.1  # of the models that drop activations
PARTS = ("objectives", "ceiling", "auto", "dropout", "peer", "peer-bfloat16", "overhead")

# Ways to compute a step: name → numeric policy and what XLA compiles. The first was the default of earlier versions.
WAYS = {
    "float32, all compiled": ("float32", True),
    "float32, nothing compiled": ("float32", False),
    "float32, elementwise": ("float32", device.ELEMENTWISE),
    "bfloat16, nothing compiled": ("mixed_bfloat16", False),
    "bfloat16, elementwise": ("mixed_bfloat16", device.ELEMENTWISE),
}
# Rate relative to PyTorch that is promised, by part and shape.
TO_PYTORCH = {"peer": {"1M": "≥ 1.5", "6M": "≥ 0.95"}, "peer-bfloat16": {"1M": "≥ 1.5", "6M": "≥ 1.1"}}


def measure(rounds: int = 5, parts: Sequence[str] = ()):
    """Writes a table per part, under the part's name.

    Args:
        rounds: of `STEPS` steps each, see `paired.rounds`. parts: of `PARTS`; all by default.

    Raises:
        CatKerasError: there is no such part.
    """
    if unknown := [name for name in parts if name not in PARTS]:
        raise unknown_name("part", unknown[0], PARTS)
    proto = workload.tokenizer()
    note = (
        f"Batches of {BATCH} x {LENGTH} tokens, the last {TARGET} of each example being its target, 4,096 pieces, "
        f"AdamW with clipping. Medians of {rounds} rounds of {STEPS} steps; ratios of the same round. "
        f"Long trainings here: {device.description(device.best_precision())}, with --precision auto. "
    )
    if find_spec("torch") is None:
        print("No comparison with PyTorch, which is not installed: pip install torch", flush=True)
    tables = {
        "objectives": (lambda: objectives(proto, rounds), "float32; small model 1M, large model 6M parameters."),
        "ceiling": (lambda: share_of_ceiling(proto, rounds), "FLOPs counted from the architecture."),
        "auto": (lambda: ways(proto, rounds), "Ratios are of rates."),
        "dropout": (lambda: ways(proto, rounds, DROPOUT), f"Ratios are of rates. Models drop {DROPOUT:.0%}."),
        "peer": (lambda: peers(proto, rounds, "peer"), f"float32. {PEERS}"),
        "peer-bfloat16": (lambda: peers(proto, rounds, "peer-bfloat16"), f"bfloat16 products. {PEERS}"),
        "overhead": (lambda: overhead(proto, rounds), "A model of one layer and width 16, batches of 2 x 8 tokens."),
    }
    for name in parts or PARTS:
        print(f"-- {name}", flush=True)
        table, more = tables[name]
        paired.keep(name, table(), note + more)


PEERS = (
    "PyTorch is `benchmarks/perf/torch_gpt.py`, eager and through torch.compile; by hand is "
    "`benchmarks/perf/plain_step.py`, with XLA and without; ratios are to the better of the two."
)


def optimizer():
    return keras.optimizers.AdamW(1e-3, global_clipnorm=1.0)


def ours(proto: bytes, shape: str, data: ck.Encoded, objective: str, cache=None, teacher=None,
         precision: str = "float32", jit: bool | str | None = None, dropout: float = 0.0):  # fmt: skip
    """A function that trains `STEPS` steps.

    Args:
        proto: of the tokenizer. shape: of the model, see `workload.SHAPES`. objective: its name.
        cache: a `TeacherCache`, or teacher: a model, for an objective that reads one.
        precision, jit: a way to compute a step, see `WAYS`; None for what a long training takes here.
        dropout: share of activations that the model drops.
    """
    trainer = ck.CascadeAware(made_with(precision, proto, shape, dropout=dropout), objective, teacher=teacher)
    jit = _long(trainer.model.backbone.compute_dtype, dropout) if jit is None else jit
    trainer.compile(optimizer(), jit_compile=jit)
    scope = "all" if objective == "all" else "target"
    # Columns of the start that `defer-token` reads: whose they are does not matter to the time of a step.
    batches = ck.Batches(data, BATCH, loss=trainer.objective, teacher=cache, start=cache, buckets=1, scope=scope)
    return lambda: training.train(trainer, batches, training.Schedule(1e-3, STEPS))


def made_with(precision: str, proto: bytes, shape: str, **changes):
    """A model of a shape with a numeric policy; changes as for `workload.model`."""
    before = keras.config.dtype_policy()
    distribution.set_precision(precision)
    try:
        return workload.model(proto, shape, **changes)
    finally:
        keras.config.set_dtype_policy(before)


def plain_fit(proto: bytes, shape: str, data: ck.Encoded):
    """A function that runs Keras' own loop over the same batches: stock loss, weights of the target tokens."""
    built = workload.model(proto, shape)
    model = keras.Model(built.input, built.output)  # a CausalLM itself would tokenize again
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    batches = ck.Batches(data, BATCH, buckets=1)
    model.fit(batches, epochs=1, verbose=0)
    return lambda: model.fit(batches, epochs=1, verbose=0)


def peer(shape: str, data: ck.Encoded, **settings):
    """The process of PyTorch that takes the same steps, see `torch_gpt`: a context of (ask, size of its model)."""
    spec = {k: v for k, v in workload.SHAPES[shape].items() if k != "feedforward"} | settings
    batches = [ck.Batches(data, BATCH, buckets=1).batch(i) for i in range(STEPS)]
    ids = np.array([inputs["token_ids"] for inputs, _, _ in batches])
    labels = np.array([labels for _, labels, _ in batches])
    weights = np.array([weights for _, _, weights in batches])
    return started("torch_gpt", spec, ids=ids, labels=labels, weights=weights)


def by_hand(shape: str, data: ck.Encoded, bfloat16: bool, jit: bool):
    """A function that takes the same steps by `plain_step`."""
    from benchmarks.perf.plain_step import PlainStep  # late: it brings TensorFlow

    batches = ck.Batches(data, BATCH, buckets=1)
    arrays = [(x["token_ids"], labels, weights) for x, labels, weights in map(batches.batch, range(STEPS))]
    step = PlainStep(arrays[0], **workload.SHAPES[shape], bfloat16=bfloat16, jit=jit)
    return lambda: [step(*batch) for batch in arrays]


def ceiling(dtype: str, side: int = 2048):
    """A function that multiplies square matrices, often enough to be timed, and the FLOPs of one call."""
    import tensorflow as tf

    a, b = (tf.cast(tf.random.normal((side, side)), dtype) for _ in range(2))
    return lambda: [tf.matmul(a, b) for _ in range(8)][-1][0, 0].numpy(), 8 * 2 * side**3


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
    promised = {"cat-dist, cached top 32": "≤ 1.12", "defer-token, cached bits": "≤ 1.1"}
    return pd.DataFrame(
        {
            "training": name,
            "ms per step": 1000 * float(seconds[name].median()) / STEPS,
            "relative to Keras fit": paired.ratio(seconds, name, "Keras fit, cross-entropy"),
            "relative to xent": paired.ratio(seconds, name, "xent"),
            "promise (to Keras fit)": promised.get(name, ""),
            "promise (to xent)": "≤ 1.03" if name == "cat-xent, cached bits" else "",
        }
        for name in trainings
    )


def ways(proto: bytes, count: int, dropout: float = 0.0) -> pd.DataFrame:
    """Tokens per second of `xent` in each of `WAYS`, relative to the first of them."""
    rows, first = [], next(iter(WAYS))
    precision = device.best_precision()
    chosen = precision, _long(keras.DTypePolicy(precision).compute_dtype, dropout)
    for shape in workload.SHAPES:
        data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
        print(shape, flush=True)
        trainings = {
            name: ours(proto, shape, data, "xent", precision=way[0], jit=way[1], dropout=dropout)
            for name, way in WAYS.items()
        }
        seconds = paired.rounds(trainings, count)
        for name, way in WAYS.items():
            auto = way == chosen
            rows.append(
                {
                    "model": shape,
                    "step": name,
                    "auto": "chosen" if auto else "",
                    "tokens/s": BATCH * STEPS * LENGTH / float(seconds[name].median()),
                    f"rate relative to {first}": paired.ratio(seconds, first, name),
                    "promise": "≥ 1.7" if auto and shape == "6M" else "",
                }
            )
    return pd.DataFrame(rows)


def peers(proto: bytes, count: int, part: str) -> pd.DataFrame:
    """Tokens per second of `xent` and of the peers, for both shapes, loss on some or all tokens."""
    return pd.DataFrame(
        _beside_peers(proto, count, part, shape, *targets)
        for shape in workload.SHAPES
        for targets in ((TARGET, "a quarter of the tokens are targets"), (LENGTH, "all tokens are targets"))
    )


def _beside_peers(proto: bytes, count: int, part: str, shape: str, target: int, loss_on: str) -> dict:
    """A row of `peers`."""
    bfloat16 = part == "peer-bfloat16"
    precision = "mixed_bfloat16" if bfloat16 else "float32"
    data, size = workload.data(proto, BATCH * STEPS, LENGTH, target), ""
    print(f"{shape}, {loss_on}", flush=True)
    with ExitStack() as processes:
        libraries = {"ours": ours(proto, shape, data, "xent", precision=precision)}
        libraries |= {f"by hand{', XLA' * jit}": by_hand(shape, data, bfloat16, jit) for jit in (False, True)}
        for compiled in (False, True) if find_spec("torch") else ():
            process = peer(shape, data, compiled=compiled, bfloat16=bfloat16)
            ask, size = processes.enter_context(process)
            libraries[f"PyTorch{', compiled' * compiled}"] = lambda ask=ask: ask("go")
        seconds = paired.rounds(libraries, count)
    tokens = BATCH * STEPS * LENGTH
    row = {
        "model": shape,
        "loss on": loss_on,
        "parameters, ours": workload.model(proto, shape).count_params(),
        "parameters, PyTorch": size,
        "tokens/s, ours": tokens / float(seconds["ours"].median()),
    }
    for name, promise in (("by hand", "≥ 0.97"), ("PyTorch", TO_PYTORCH[part].get(shape, ""))):
        better = min((n for n in libraries if n.startswith(name)), key=lambda n: seconds[n].median(), default=None)
        row |= {
            f"tokens/s, {name}": tokens / float(seconds[better].median()) if better else "",
            f"ours / {name}": paired.ratio(seconds, better, "ours") if better else "",
            f"promise ({name})": promise,
        }
    return row


def overhead(proto: bytes, count: int, steps: int = 200) -> pd.DataFrame:
    """Steps of a tiny model in `train`, against the compiled function on one batch that is on the device already."""
    import tensorflow as tf

    from cat_keras.modeling import models

    data = workload.data(proto, 2 * steps, 8, 4)
    model = models.build(proto, layers=1, width=16, heads=2, feedforward=16)
    trainer = ck.CascadeAware(model, "xent")
    trainer.compile(optimizer(), jit_compile=_long("float32"))
    batches = ck.Batches(data, 2, buckets=1)

    def trained():
        training.train(trainer, batches, training.Schedule(1e-3, steps))

    trained()
    bare = Step(trainer, jit=_long("float32"))
    (batch,) = bare.with_positions([batches.batch(0)], batches.capacity)
    arguments = tf.nest.map_structure(tf.constant, (batch, np.float32(batch[2].sum())))

    def alone():
        for _ in range(steps):
            loss, _ = bare.compiled_step(*arguments)
        return float(loss)

    seconds = paired.rounds({"train": trained, "compiled function": alone}, count)
    return pd.DataFrame(
        [
            {
                "steps": steps,
                "ms per step, train": 1000 * float(seconds["train"].median()) / steps,
                "ms per step, compiled function": 1000 * float(seconds["compiled function"].median()) / steps,
                "ratio": paired.ratio(seconds, "train", "compiled function"),
                "promise": "≤ 1.2",
            }
        ]
    )


def share_of_ceiling(proto: bytes, count: int) -> pd.DataFrame:
    """FLOPs per second of training, and of nothing but matrix products in the same precision."""
    data = workload.data(proto, BATCH * STEPS, LENGTH, TARGET)
    work, rows = flops(workload.model(proto, "6M")), []
    for precision, dtype in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        multiply, products = ceiling(dtype)
        seconds = paired.rounds(
            {"train": ours(proto, "6M", data, "xent", precision=precision), "multiply": multiply}, count
        )
        rows.append(
            {
                "model": "6M",
                "products in": dtype,
                "GFLOP/s, training": work / float(seconds["train"].median()) / 1e9,
                "GFLOP/s, 2048² product": products / float(seconds["multiply"].median()) / 1e9,
                "share": float(np.median((work / seconds["train"]) / (products / seconds["multiply"]))),
                "promise": "≥ 0.7",
            }
        )
    return pd.DataFrame(rows)


def _long(dtype: str, dropout: float = 0.0) -> bool | str:
    """What XLA compiles here of a long training whose products are of a type."""
    return device.best_jit(device.LONG_ELEMENTWISE, dtype, dropout)
