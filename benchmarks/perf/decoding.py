"""Speed of inference, in ratios: `python -m benchmarks perf decoding [PART…] --data DIR`.

generation: against `generate` of KerasHub and of transformers. scoring: options after one prompt against whole strings.
speculative, cascade: two models against their formulas. On a real task, by models trained on it for minutes.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.perf import cascades, paired, peer, scoring, transformers_gemma, writers
from benchmarks.perf.writers import NEW, Writers
from cat_keras.decoding.generation import Generator
from cat_keras.errors import unknown_name

# Of the other libraries: rows of a batch, and whether prompts are sorted by length first.
SETTINGS = {
    "batches of 64, as given": (64, False),
    "batches of 32, by length": (32, True),
    "batches of 64, by length": (64, True),
}
PROMISED = {"KerasHub": 4, "transformers": 2.5}  # how many times as fast ours is, at least


def measure(
    parts: Sequence[str] = (),
    cache: Path = Path("runs/perf"),
    data: Path | None = None,
    prompts: int = 512,
    rounds: int = 3,
):
    """Writes a table per part, under the part's name.

    Args:
        parts: of `PARTS`; all by default. cache: where trained models are kept. data: folder of real data; without one
            the samples are read. prompts: how many, at most. rounds: see `paired.rounds`.

    Raises:
        CatKerasError: there is no such part.
    """
    if unknown := [name for name in parts if name not in PARTS]:
        raise unknown_name("part", unknown[0], PARTS)
    work = writers.prepare(cache, data, prompts)
    for name in parts or PARTS:
        table, note = PARTS[name](work, rounds)
        paired.keep(name, table, f"{note} Medians of {rounds} rounds; ratios of the same round.")


def generation(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Every setting in one round, and the fastest of each library in all rounds."""
    tables, notes = [], []
    for shape, model in work.models.items():
        print(f"{shape}, {len(work.prompts)} prompts", flush=True)
        generator = Generator(model, [work.end], jit=True)
        answers = {}  # library and setting → its answers, from the last time it ran
        with transformers(model, work) as (ask, _):
            runs = {name: _recording(answers, name, run) for name, run in candidates(generator, work, ask).items()}
            once = paired.rounds(runs, 1)
            promises = _promises(once)
            seconds = paired.rounds({name: runs[name] for name in ("ours", *promises)}, count, warm=True)
        tables.append(_comparison(shape, once, seconds, answers, work.end, promises))
        notes.append(
            f"Answers of {shape}: {writers.lengths(answers['ours'])}; ours compiled {generator.compilations} functions."
        )
    return pd.concat(tables), (
        f"{len(work.prompts)} prompts of {writers.TASK}, at most {NEW} new tokens, greedy; ours with "
        "log-probabilities. Ours and KerasHub are compiled with XLA, before they are timed."
        f" Every setting once; promises are to the fastest of a library, in all rounds. {' '.join(notes)}"
    )


PARTS = {
    "generation": generation,
    "scoring": scoring.scoring,
    "speculative": cascades.speculative,
    "cascade": cascades.cascade,
}


def candidates(generator: Generator, work: Writers, ask: Callable | None) -> dict[str, Callable]:
    """Library and setting → a function that answers all prompts.

    Args:
        ask: sends a line to transformers, see `transformers`; None where it is not installed.
    """
    runs = {"ours": ours(generator, work)}
    runs |= {f"KerasHub, {name}": keras_hub(generator.model, work, *setting) for name, setting in SETTINGS.items()}
    for name, (batch, by_length) in SETTINGS.items() if ask else ():
        line = json.dumps({"batch": batch, "by_length": by_length})
        runs[f"transformers, {name}"] = lambda line=line: json.loads(ask(line))
    return runs


def ours(generator: Generator, work: Writers):
    """A function that answers all prompts, with the log-probability of every token."""
    return lambda: [answer.tokens for answer in generator(work.prompts, NEW)]


def keras_hub(model, work: Writers, batch: int, by_length: bool):
    """`generate` under XLA, batch by batch, each as wide as its longest prompt needs, in steps of 16 tokens."""
    bare = type(model)(backbone=model.backbone, preprocessor=None)
    bare.compile(sampler="greedy", jit_compile=True)
    prompts, n = work.prompts, np.array([len(p) for p in work.prompts])
    order = np.argsort(n, kind="stable") if by_length else np.arange(len(n))

    def run():
        answers = [[]] * len(n)
        for start in range(0, len(n), batch):
            rows = order[start : start + batch]
            filled = np.pad(rows, (0, batch - len(rows)), mode="edge")
            width = -(-n[rows].max() // 16) * 16 + NEW
            tokens = np.array([prompts[r] + [0] * (width - n[r]) for r in filled], np.int32)
            inputs = {"token_ids": tokens, "padding_mask": np.arange(width) < n[filled, None]}
            out = bare.generate(inputs, stop_token_ids=(work.end,))["token_ids"]
            for row, ids in zip(rows, out, strict=False):
                answers[row] = ids[n[row] :].tolist()
        return answers

    return run


def transformers(model, work: Writers):
    """A context that gives a function of a line, see `transformers_gemma.serve`; None where it is not installed."""
    if not (find_spec("transformers") and find_spec("torch")):
        print("No comparison with transformers, which is not installed: pip install cat-keras[peer]")
        return nullcontext((None, ""))
    spec = {"configuration": transformers_gemma.configuration(model), "end": work.end, "new": NEW}
    arrays = {"tokens": np.concatenate(work.prompts), "lengths": np.array([len(p) for p in work.prompts])}
    return peer.started("transformers_gemma", spec, **arrays, **transformers_gemma.weights(model))


def _recording(answers: dict, name: str, run: Callable) -> Callable:
    """The same function, which also leaves its answers under `name`."""

    def recorded():
        answers[name] = run()

    return recorded


def _promises(seconds: pd.DataFrame) -> dict[str, str]:
    """The fastest setting of each library → what is promised against it."""
    medians = seconds.median()
    settings = {library: [name for name in medians.index if name.startswith(library)] for library in PROMISED}
    return {medians[names].idxmin(): f"≥ {PROMISED[library]}" for library, names in settings.items() if names}


def _comparison(shape, once, seconds, answers, end, promises) -> pd.DataFrame:
    """A row per library and setting: its rate, and whether it answers as ours does.

    Args:
        once, seconds: of every setting in one round, and of ours and the fastest settings in all rounds.
    """
    rows = []
    for name in once:
        timed = seconds if name in seconds else once
        cut = [writers.cut(answer, end) for answer in answers[name]]
        rows.append(
            {
                "model": shape,
                "decoding": name,
                "rounds": len(timed),
                "new tokens/s": sum(map(len, answers["ours"])) / float(timed[name].median()),
                "rate of ours relative to it": paired.ratio(timed, name, "ours"),
                "equal answers": float(np.mean([a == b for a, b in zip(cut, answers["ours"], strict=True)])),
                "promise": promises.get(name, ""),
            }
        )
    return pd.DataFrame(rows)
