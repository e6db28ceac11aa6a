"""Token-level cascades of a finished run: its own models answer its test examples by drafting and judging.

Takes the trained models from the run's cache and writes `token_level.parquet` into the run folder. The file says, per
example and for each rule at each α, how good the answer was and what it cost; it holds no text. `paper_figs` draws it
beside the cascades of whole queries.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from benchmarks import metrics
from benchmarks.report.reading import load
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

FILE = "token_level.parquet"
# Answers are greedy. The rules "token-v1" and "lossy" are left out: for greedy answers they are "diff" and "token-v3".
ALPHAS = {
    "lossless": (0.0,),
    "chow": (0.5, 0.8),
    "chow-log": (1.0, 2.0),  # nats
    "diff": (0.0, 0.5, 0.8),
    "opt": (0.5, 0.8, 0.95),
    "token-v2": (0.3, 0.6, 0.9),
    "token-v3": (0.9, 0.99, 0.999),
}
METHODS = ("xent", "cat-xent")
ROWS = 256  # answers at a time
COUNTS = ("flops", "large_calls", "drafted", "accepted", "rejected", "seconds")


def evaluate(folder: Path, cache: Path, progress, methods: Sequence[str] = (), seeds: int = 0,
             rules: Sequence[str] = (), limit: int = 0, gamma: int = 4) -> pyarrow.Table:  # fmt: skip
    """Answers of the token-level cascades of a run, one row per method, seed, rule, α and example.

    Args:
        folder: of the run, with its texts. cache: the store it was built in.
        progress: as for `workbench.Workbench`.
        methods, rules: default `METHODS` as far as the run has them, all of `ALPHAS`. seeds: so many, 0 for all.
        limit: the first so many test examples of each generation task; 0 for all.
        gamma: drafts per pass of the large model.

    Raises:
        CatKerasError: a name that the run or the rules do not have, no generation task, or models that are gone.
    """
    run = load.load(folder)
    settings = run.manifest.get("settings")
    if not settings or not run.manifest.get("cells"):
        raise CatKerasError(f"Models of a run are found by its manifest; that of {folder} names none. Run it again")
    methods, rules = _methods_and_rules(run, methods, rules)
    examples = _examples(run, limit)
    from cat_keras.data.chat import Chat
    from cat_keras.decoding.speculative_cascade import SpeculativeCascade  # late: bad input loads no TensorFlow

    small, large, weights = _models(run, cache, methods, run.seeds[: seeds or None])
    limits, rows = settings["data"], []
    cascade = SpeculativeCascade(
        small,
        large,
        gamma=gamma,
        max_length=limits["max_length"],
        rows=ROWS,
        stop=limits.get("stop", ()),
        chat=Chat(**limits["chat"]) if limits.get("chat") else None,
    )
    for rule in rules:
        progress.start(f"tokens, {rule}", len(ALPHAS[rule]) * len(weights) * len(examples), "answers")
        for (method, seed), values in weights.items():
            small.set_weights(values)
            for alpha in ALPHAS[rule]:
                cascade.use(rule, alpha)
                answers = cascade.generate(examples, limits["max_new_tokens"], progress.advance)
                labels = {"method": method, "seed": seed, "rule": rule, "alpha": alpha}
                rows += [labels | row for row in _judge(examples, answers)]
        progress.done(f"α {', '.join(map(str, ALPHAS[rule]))}")
    facts = {"gamma": gamma, "limit": limit, "temperature": 0, "predictions": run.manifest.get("predictions", {})}
    return pyarrow.Table.from_pylist(rows).replace_schema_metadata({"cat_keras": json.dumps(facts, sort_keys=True)})


def write(path: Path, table: pyarrow.Table):
    """Writes the table of `evaluate`, the whole file or none of it."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    store.write_bytes(path, buffer.getvalue())


def _methods_and_rules(run: load.Run, methods: Sequence[str], rules: Sequence[str]):
    """The names given, checked, or the defaults in their place."""
    methods = methods or [name for name in METHODS if name in run.methods] or run.methods[:1]
    for kind, names, valid in (("method of the run", methods, run.methods), ("token-level rule", rules, ALPHAS)):
        if unknown := [name for name in names if name not in valid]:
            raise unknown_name(kind, unknown[0], valid)
    return methods, rules or list(ALPHAS)


def _examples(run: load.Run, limit: int) -> list[Example]:
    """The test examples of the generation tasks, whose answers are not chosen from options."""
    if not run.has_text:
        raise CatKerasError(
            f"Models are asked the run's own prompts; {run.folder} keeps no texts. Give the run's folder"
        )
    names = [name for name in run.covered if name not in run.choice_tasks()]
    if not names:
        raise CatKerasError(
            f"Token-level cascades answer freely. Received: a run on {', '.join(run.tasks)} alone, whose answers are "
            "chosen from options. Take a run with a generation task"
        )
    return [e for name in names for e in list(run.examples[name])[: limit or None]]


def _models(run: load.Run, cache: Path, methods: Iterable[str], seeds: Iterable[int]):
    """One small model, the large model, and the small model's weights as (method, seed) → weights."""
    from cat_keras.modeling import models

    large = models.load(preset_of(run, cache, "large", ("large tune", "large pretrain")))
    weights = {}
    for method in methods:
        for seed in seeds:
            small = models.load(preset_of(run, cache, "small", (f"small {method} seed {seed}",)))
            weights[method, seed] = small.get_weights()
    return small, large, weights


def preset_of(run: load.Run, cache: Path, role: str, labels: Iterable[str]) -> str | Path:
    """Where a model of the run lies: what its last training wrote, or the preset that was not trained.

    Args:
        role: "small" or "large". labels: of the trainings that the model may come from, the last one first.
    """
    cell = next((run.manifest["cells"][label] for label in labels if label in run.manifest["cells"]), None)
    if cell is None:
        if run.manifest["settings"][role].get("endpoint"):
            raise CatKerasError(
                "This computes with the weights of the models. Received: a run whose "
                f"{role} model is an endpoint. Take a run of two models that are made here"
            )
        return run.manifest["settings"][role]["preset"]
    results = store.Store(cache)
    if not results.has("train", cell["key"]):
        raise CatKerasError(
            f"The models of a run lie in its cache; {results.path('train', cell['key'])} is gone. Run the profile again"
        )
    return results.path("train", cell["key"]) / "preset"


def _judge(examples: Sequence[Example], answers) -> Iterator[dict]:
    """One row per example: the quality of its answer, and what the answer took."""
    metric_of = {t.name: metrics.of(t) for t in map(task.get, {e.task for e in examples})}
    for example, answer in zip(examples, answers, strict=True):
        quality = metric_of[example.task].per_example(answer.text, example)
        yield {"task": example.task, "id": example.id, "quality": quality, "tokens": len(answer.tokens),
               **{name: getattr(answer, name) for name in COUNTS}}  # fmt: skip
