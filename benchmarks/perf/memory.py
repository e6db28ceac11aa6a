"""Memory of trainings against what a dry run says of them, on small pairs of the architecture of Gemma 3.

    python -m benchmarks perf memory

Each point is a training of a run in a process of its own, stopped after a few steps.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.perf import paired
from cat_keras.errors import Stopped
from cat_keras.storage import processes

SHAPE = {"layers": 4, "width": 256, "heads": 4, "feedforward": 1024, "vocabulary": 8192}
BATCH = {"batch": 32, "prompt": 96, "target": 32}
LORA = {"large.lora.rank": 16}
DEEP = {"batch": 4, "layers": 8, "width": 512, "feedforward": 2048}
POINTS = {
    "as it is": {},
    "32k vocabulary": {"vocabulary": 32_768},
    "32k vocabulary, chunks of 256": {"vocabulary": 32_768, "set": {"large.tune.chunk": 256}},
    "8 layers": {"layers": 8},
    "8 layers, recomputed": {"layers": 8, "set": {"large.tune.recompute": True}},
    "width 512": {"width": 512, "feedforward": 2048},
    "width 512, LoRA": {"width": 512, "feedforward": 2048, "set": LORA},
    "width 512, LoRA on bfloat16": {"width": 512, "feedforward": 2048, "set": LORA | {"large.weights": "bfloat16"}},
    "64 rows": {"batch": 64},
    "64 rows, in 4 slices": {"batch": 64, "set": {"large.tune.accumulate": 4}},
    "4 rows, 8 layers, width 512": DEEP,
    "4 rows, 8 layers, width 512, LoRA": DEEP | {"set": LORA},
    "4 rows, 64k vocabulary": {"batch": 4, "vocabulary": 65_536},
    "512 tokens, 8 rows": {"prompt": 480, "batch": 8},
    "512 tokens, 16 heads, 8 rows": {"prompt": 480, "batch": 8, "heads": 16},
    "mixed_bfloat16": {"set": {"precision": "mixed_bfloat16"}},
}
STEPS = 3
TOLERANCE = 0.15
WORDS = "heron otter badger newt stoat vole finch adder hare wren lynx mole shrew toad robin".split()


def measure():
    """Writes the table `memory`."""
    rows = []
    for name, changes in POINTS.items():
        found = paired.in_own_process("memory", json.dumps(SHAPE | BATCH | changes))
        rows.append(
            {
                "training": name,
                "M parameters": found["parameters"] / 1e6,
                "estimate, MiB": found["estimate"] / 2**20,
                "measured, MiB": found["measured"] / 2**20,
                "estimate to measured": found["estimate"] / found["measured"],
                "promise": f"{1 - TOLERANCE:.2f} to {1 + TOLERANCE:.2f}",
            }
        )
        print(f"{name}: {rows[-1]['estimate to measured']:.2f}", flush=True)
    note = (
        f"Gemma 3 with {SHAPE['layers']} layers of width {SHAPE['width']} and {SHAPE['heads']} heads, feed-forward "
        f"{SHAPE['feedforward']}, vocabulary {SHAPE['vocabulary']:,}; {BATCH['batch']} rows of {BATCH['prompt']} "
        f"tokens of a prompt and {BATCH['target']} of a target, where a row says nothing else. Measured: growth of the "
        "process from before the training to its peak."
    )
    paired.keep("memory", pd.DataFrame(rows), note)


def point(setting: dict) -> dict:
    """Bytes of a training by the estimate and by the peak of this process, and the parameters of the model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paired.in_own_process("memory", "preset", json.dumps(setting), name)  # what it takes is not counted
        todo = _plan(folder, setting)
        from benchmarks.planning.estimate import Estimate, bytes_per_token
        from benchmarks.running.workbench import Workbench
        from cat_keras.storage.store import Store

        kept = Store(folder / "cache")
        bench = Workbench(todo, kept, _Few())
        smallest = min(todo.cells(), key=lambda cell: cell.role == "large")
        _begin(bench, smallest)  # what TensorFlow and its compiler take for any model is not counted
        before = processes.peak_memory()
        _begin(bench, todo.large)
        measured = processes.peak_memory() - before
        estimate = Estimate(todo, bytes_per_token(todo, kept)[0])
        expected, _ = estimate.memory("large")
        return {"parameters": estimate.size["large"].parameters, "estimate": expected, "measured": measured}


def _begin(bench, cell):
    """The first steps of a training."""
    with contextlib.suppress(Stopped):
        bench.trained(cell)


class _Few:
    """The progress of a run that is asked to stop after `STEPS` steps."""

    def __init__(self):
        self.n_done = 0

    def start(self, label, total, unit):
        self.n_done = 0

    def advance(self, n, text="", saves=False):
        self.n_done += n

    def upto(self, *done):
        pass

    def done(self, text):
        pass

    def stopping(self) -> bool:
        return self.n_done >= STEPS


def _plan(folder: Path, setting: dict):
    """A run whose large model is the preset of the folder, on generated rows of the lengths that are set."""
    from benchmarks.planning import plan, profile

    tune = {"epochs": 50.0, "learning_rate": 1e-4, "batch_size": setting["batch"]}
    changes = {
        "data.tasks": ["xsum"], "data.train": 2 * setting["batch"], "data.test": 4, "data.max_new_tokens": 8,
        "data.max_length": setting["prompt"] + setting["target"] + 2, "buckets": 1, "methods": ["xent"],
        "large": {"preset": str(folder / "large"), "tune": tune},
        "small.pretrain.epochs": 50.0,
    }  # fmt: skip
    return plan.make(profile.read("tiny", changes | setting.get("set", {})), folder / "data")


def write(setting: dict, folder: Path):
    """The preset and the rows of a point."""
    import keras_hub

    from cat_keras.modeling import models

    proto = models.train_tokenizer([" ".join(WORDS), *map(str, range(999))] * 20, 320)
    tokenizer = keras_hub.models.Gemma3Tokenizer(proto=proto, has_vision_tokens=False)
    document, target = _text(tokenizer, setting["prompt"]), _text(tokenizer, setting["target"] - 4)  # a number follows
    rows = folder / "data" / "xsum" / "default"
    rows.mkdir(parents=True)
    for split, count in {"train": 4 * setting["batch"], "validation": 8, "test": 8}.items():
        lines = (
            {"gem_id": f"{split}-{i}", "document": f"{i} {document}", "target": f"{target} {i}."} for i in range(count)
        )
        (rows / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    backbone = keras_hub.models.Gemma3Backbone(
        vocabulary_size=setting["vocabulary"], image_size=16, num_layers=setting["layers"],
        num_query_heads=setting["heads"], num_key_value_heads=setting["heads"] // 4, head_dim=64,
        hidden_dim=setting["width"], intermediate_dim=setting["feedforward"], use_query_key_norm=True,
        use_post_ffw_norm=True, use_post_attention_norm=True,
        use_sliding_window_attention=True, sliding_window_size=64, vision_encoder=None,
    )  # fmt: skip
    preprocessor = keras_hub.models.Gemma3CausalLMPreprocessor(tokenizer, image_converter=None)
    models.save(keras_hub.models.Gemma3CausalLM(backbone=backbone, preprocessor=preprocessor), folder / "large")


def _text(tokenizer, tokens: int) -> str:
    """Words of so many tokens at most, as many as there is room for."""
    words = [WORDS[i % len(WORDS)] for i in range(tokens)]
    while len(tokenizer(" ".join(words))) > tokens:
        words.pop()
    return " ".join(words)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", "preset", setting, folder]:  # how `point` starts it
            write(json.loads(setting), Path(folder))
            print("{}")
        case ["point", setting]:  # how `measure` starts it
            print(json.dumps(point(json.loads(setting))))
        case _:
            sys.exit("Measure with: python -m benchmarks perf memory")
