"""Speed of inference, in ratios: python -m benchmarks.perf.decoding [PART…] --data DIR --cache DIR

generation: against `generate` of KerasHub and of transformers. scoring: options after one prompt against whole strings.
speculative, cascade: two models against their formulas. On a real task, by models trained on it for minutes.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks.perf import cascades, paired, peer, scoring, transformers_gemma, writers
from benchmarks.perf.writers import NEW, Writers
from cat_keras.decoding.generation import Generator
from cat_keras.errors import unknown_name

SETTINGS = {
    "batches of 64, as given": (64, False),
    "batches of 32, by length": (32, True),
    "batches of 64, by length": (64, True),
}
PROMISED = {"KerasHub": 1.8, "transformers": 1.5}


def ours(model, work: Writers):
    """A function that answers all prompts, with the log-probability of every token."""
    generator = Generator(model, [work.end])
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
            for row, found in zip(rows, out, strict=False):
                answers[row] = found[n[row] :].tolist()
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


def candidates(model, work: Writers, ask: Callable | None) -> dict[str, Callable]:
    """Library and setting → a function that answers all prompts."""
    found = {"ours": ours(model, work)}
    found |= {f"KerasHub, {name}": keras_hub(model, work, *setting) for name, setting in SETTINGS.items()}
    for name, (batch, by_length) in SETTINGS.items() if ask else ():
        line = json.dumps({"batch": batch, "by_length": by_length})
        found[f"transformers, {name}"] = lambda line=line: json.loads(ask(line))
    return found


def generation(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Every setting in one round, and the fastest of each library in all rounds."""
    tables, notes = [], []
    for shape, model in work.models.items():
        answers = {}
        with transformers(model, work) as (ask, _):
            chosen = {k: _remembering(answers, k, run) for k, run in candidates(model, work, ask).items()}
            once = paired.rounds(chosen, 1)
            best = _best(once)
            seconds = paired.rounds({name: chosen[name] for name in ("ours", *best)}, count)
        tables.append(_compared(shape, once, seconds, answers, work.end, best))
        notes.append(f"Answers of {shape}: {writers.lengths(answers['ours'])}.")
    return pd.concat(tables), (
        f"{len(work.prompts)} prompts of {writers.TASK}, at most {NEW} new tokens, greedy; ours with log-probabilities."
        f" Every setting once; promises are to the fastest of a library, in all rounds. {' '.join(notes)}"
    )


def _remembering(answers, name, run):
    def remembered():
        answers[name] = run()

    return remembered


def _best(seconds) -> dict[str, str]:
    """The fastest setting of each library → what is promised against it."""
    medians = seconds.median()
    settings = {library: [name for name in medians.index if name.startswith(library)] for library in PROMISED}
    return {medians[names].idxmin(): f"≥ {PROMISED[library]}" for library, names in settings.items() if names}


def _compared(shape, once, seconds, answers, end, best) -> pd.DataFrame:
    own, rows = answers["ours"], []
    for name in once:
        timed = seconds if name in seconds else once
        rows.append(
            {
                "model": shape,
                "decoding": name,
                "rounds": len(timed),
                "new tokens/s": sum(map(len, own)) / float(timed[name].median()),
                "rate of ours relative to it": paired.ratio(timed, name, "ours"),
                "equal answers": _equal([writers.cut(answer, end) for answer in answers[name]], own),
                "promise": best.get(name, ""),
            }
        )
    return pd.DataFrame(rows)


def _equal(answers, others) -> float:
    return float(np.mean([a == b for a, b in zip(answers, others, strict=True)]))


PARTS = {
    "generation": generation,
    "scoring": scoring.scoring,
    "speculative": cascades.speculative,
    "cascade": cascades.cascade,
}


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PARTS)}; all by default.")] = None,
    cache: Annotated[Path, typer.Option(help="Where trained models are kept.")] = Path("runs/perf"),
    data: Annotated[Path | None, typer.Option(help="Folder of real data; by default the samples.")] = None,
    prompts: Annotated[int, typer.Option(min=1)] = 512,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
):
    if unknown := [name for name in parts or () if name not in PARTS]:
        raise unknown_name("part", unknown[0], PARTS)
    work = writers.prepare(cache, data, prompts)
    for name in parts or PARTS:
        table, note = PARTS[name](work, rounds)
        paired.keep(name, table, f"{note} Medians of {rounds} rounds; ratios of the same round.")


if __name__ == "__main__":
    typer.run(main)
