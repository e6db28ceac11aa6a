"""Options scored after a prompt that is computed once, against a pass over prompt and option for each of them.

A part of `perf decoding`.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired
from benchmarks.perf.writers import CONTEXT, NEW, TASK, Writers
from cat_keras.data import padding
from cat_keras.modeling import costs, models
from cat_keras.training import forward

COUNTS = (2, 3, 4, 8, 16)
BATCH = 64


def with_options(examples, count: int) -> list[ck.Example]:
    """The same prompts with `count` single words to choose from."""
    words = sorted({word for e in examples for word in e.target.split()})
    rng = np.random.default_rng(count)
    return [replace(e, options=tuple(map(str, rng.choice(words, count, replace=False)))) for e in examples]


def strings(model, examples) -> ck.Encoded:
    """Prompt and option as one string, all options of an example after each other."""
    pairs = [ck.Example(f"{e.id}/{i}", e.prompt, o) for e in examples for i, o in enumerate(e.options)]
    return ck.encode(pairs, models.tokenizer_of(model), CONTEXT)


def whole(model, data: ck.Encoded, count: int):
    """A function that scores all strings and gives the best option of each example, (examples,) int.

    Args:
        data: see `strings`. count: options of each example.
    """
    edges = np.array(padding.bucket_lengths(data.lengths, 3))
    scorer = forward.Forward(model)
    scorer.compile(jit_compile=False)

    def run():
        totals = np.zeros(len(data))
        for rows, columns in forward.over(scorer, data, np.arange(len(data)), BATCH, edges):
            first = np.cumsum(data.n_target[rows]) - data.n_target[rows]
            totals[rows] = np.add.reduceat(columns["logprob"], first)
        return totals.reshape(-1, count).argmax(axis=1)

    return run


def scoring(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Examples per second of both ways, by the number of options."""
    rows = []
    for shape, model in work.models.items():
        predictor = ck.Predictor(model, CONTEXT, NEW)
        for options in COUNTS:
            rows.append({"model": shape} | _compare(predictor, with_options(work.examples, options), count))
    return pd.DataFrame(rows), (
        f"{len(work.examples)} prompts of {TASK}, options of one word. Whole strings: sorted by length, in batches "
        f"of {BATCH}, logits of the option's tokens alone, without the time of the tokenizer."
    )


def _compare(predictor: ck.Predictor, examples: list[ck.Example], count: int) -> dict:
    """Rates of both ways on the same examples, what the FLOPs promise, and how often they choose the same."""
    data, options = strings(predictor.model, examples), len(examples[0].options)
    choose = whole(predictor.model, data, options)
    predictions = predictor(examples)
    equal = [p.text == e.options[i] for p, e, i in zip(predictions, examples, choose(), strict=True)]
    seconds = paired.rounds({"shared": lambda: predictor(examples), "whole": choose}, count)
    flops = costs.count(predictor.model).forward(data.n_prompt, data.n_target).sum()
    ratio, by_flops = paired.ratio(seconds, "whole", "shared"), float(flops / sum(p.flops for p in predictions))
    return {
        "options": options,
        "examples/s, shared prompt": len(examples) / float(seconds["shared"].median()),
        "examples/s, whole strings": len(examples) / float(seconds["whole"].median()),
        "shared / whole": ratio,
        "promise": "≥ 1",
        "by FLOPs": by_flops,
        "share of that": ratio / by_flops,
        "promise (of FLOPs)": "≥ 0.7" if options >= 8 else "",
        "equal choices": float(np.mean(equal)),
    }
