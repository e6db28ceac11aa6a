"""A run folder with texts, as `benchmarks.running.run` writes it, of invented rows: one task per metric."""

import hashlib

import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks import metrics
from benchmarks.report.numbers import per_task, summary
from benchmarks.report.tables import main_tables, render, rule_tables
from benchmarks.tasks import task
from cat_keras.data.records import Example, Prediction
from cat_keras.storage import store

WORDS = "heron otter badger newt stoat vole finch adder hare wren the a of and runs sees".split()
TASKS = ("sst2", "cola", "glue_qqp", "cb", "multirc", "axg", "stsb", "squad_v2", "trivia_qa", "record")
TASKS += ("embedded_translate", "true_case", "xsum", "wmt22_deen", "para_crawl_enes")
METHODS = ("xent", "cat-xent")


def example(name: str, index: int, rng) -> Example:
    """Secret words stand in every text, so that a test can look for them in what is kept."""
    declared = task.get(name)
    prompt, id = f"secret prompt {index}\n", f"test-{index}"
    # Groups are pairs where rows belong together, strata in the embedded suite.
    group = f"secret question {index // 2}" if declared.together else ("easy", "hard")[index % 2]
    group = group if declared.together or "embedded" in declared.suites else ""
    options = declared.options if isinstance(declared.options, tuple) else ()
    if options:
        return Example(id, prompt, str(rng.choice(options)), name, options, group=group)
    if declared.metric == "pearson_spearman":
        return Example(id, prompt, f"{rng.uniform(0, 5):.3f}", name)
    sentence = " ".join(rng.choice(WORDS, 7)) + " secret target"
    other = " ".join(rng.choice(WORDS, 6)) + " secret reference"
    return Example(id, prompt, sentence, name, references=(sentence, other)[: 1 + index % 2], group=group)


def answer(asked: Example, skill: float, rng) -> str:
    if asked.options:
        return asked.target if rng.random() < skill else str(rng.choice(asked.options))
    if asked.task == "stsb":
        return "secret nonsense" if rng.random() < 0.1 else f"{float(asked.target) + rng.normal():.2f}"
    return " ".join(word if rng.random() < skill else str(rng.choice(WORDS)) for word in asked.target.split())


def predicted(asked: Example, skill: float, flops: float, rng) -> dict:
    text = answer(asked, skill, rng)
    logprobs = np.log(rng.uniform(0.1, 1, 1 + len(text.split()))).astype(np.float32).tolist()
    options = np.log(rng.uniform(0.1, 1, len(asked.options))).astype(np.float32).tolist()
    found = Prediction(asked.id, asked.task, text, logprobs, options, 9, len(logprobs), flops, 0.125)
    return found.asdict() | {"quality": metrics.of(task.get(asked.task)).per_example(text, asked)}


def full(folder, tasks=TASKS, methods=METHODS, seeds=(0, 1), n=24, better=0.0, seed=0, ids="test", middle=(), **facts):
    """Writes the folder.

    Args:
        n: examples per task, an even number. better: what the small models are better by than by default.
        seed: of the answers. ids: the first word of every id. middle: names of models between the small and the large
            one. facts: for the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = [example(name, i, np.random.default_rng([i, len(name)])) for name in tasks for i in range(n)]
    asked = [Example(**(e.asdict() | {"id": e.id.replace("test", ids)})) for e in asked]
    rng, rows = np.random.default_rng(seed), []
    trained = [(model, m, s) for model in ("small", *middle) for m in methods for s in seeds]
    abilities = {"small": (0.5 + better, 1e6), "large": (0.8, 1e7)}
    for model, method, number in [("large", "", -1), *trained]:
        skill, flops = abilities.get(model, (0.7, 3e6))
        label = {"model": model, "method": method, "seed": number}
        rows += [predicted(e, skill, flops, rng) | label for e in asked]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([e.asdict() for e in asked]), folder / "examples.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "predictions.parquet")
    models = ["large/-1", *(f"{m}/{s}" if model == "small" else f"{model}/{m}/{s}" for model, m, s in trained)]
    keys = {m: hashlib.sha256(f"{m}{better}{seed}{n}{ids}{tasks}".encode()).hexdigest()[:16] for m in models}
    manifest = {
        "scheme": store.HASH_SCHEME, "profile": "invented", "rule": "chow-average", "methods": list(methods),
        "seeds": list(seeds), "tasks": list(tasks), "missing": [], "training": {}, "predictions": keys,
        "task_identities": {name: task.get(name).identity() for name in tasks},
        "files": {p.name: store.sha256_file(p) for p in sorted(folder.glob("*.parquet"))},
    }  # fmt: skip
    store.write_json(folder / "manifest.json", manifest | ({"middle": list(middle)} if middle else {}) | facts)
    return folder


def quick_report(run, drawn=True) -> dict[str, bytes]:
    """Stands for `report.files`, most of whose time goes into drawing: real tables, and a drawing of no size."""
    numbers = summary.summarize(run)
    drawings = {"quality_cost.png": b"drawn", "quality_cost.svg": b"drawn"} if drawn else {}
    return drawings | {
        "table.csv": render.csv_bytes(main_tables.main_records(numbers)),
        "tasks.csv": render.csv_bytes(per_task.records(numbers)),
        "rules.csv": render.csv_bytes(rule_tables.rule_records(numbers)),
        "table.md": f"Rule {run.rule}\nOne seed\nMissing {run.missing}, left out {run.extra}\n".encode(),
    }
