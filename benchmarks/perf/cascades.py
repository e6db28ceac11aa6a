"""Two models that answer together, against the formulas for what that saves; parts of `perf decoding`."""

import numpy as np
import pandas as pd
from keras import ops

import cat_keras as ck
from benchmarks.perf import paired
from benchmarks.perf.writers import CONTEXT, NEW, TASK, Writers
from cat_keras.decoding import compiling, slots
from cat_keras.decoding.generation import Generator
from cat_keras.decoding.speculative import expected_speedup, expected_tokens
from cat_keras.decoding.speculative_cascade import SpeculativeCascade

GAMMAS = (2, 4, 8)
BATCHES = {1: 32, 32: 256}  # rows at a time → prompts
DEFERRED = 0.25


def speculative(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Lossless greedy speculation against the large model alone, which takes a step per token."""
    tables = [_speculative_table(work, batch, prompts, count) for batch, prompts in BATCHES.items()]
    return pd.concat(tables), (
        f"Prompts of {TASK}, at most {NEW} new tokens, greedy, lossless; large model 6M, small model 1M. a: share of "
        "the judged drafts that stand. c: time of a step of the small model over one of the large, each decoding "
        "alone. v: time of a pass of the large model over γ + 1 tokens in each row over one of a single token. "
        "Expected: (1 − a^(γ+1)) / ((1 − a) ((γ + 1) c + 1)), which takes v for 1; and with the v measured."
    )


def _speculative_table(work: Writers, batch: int, prompts: int, count: int) -> pd.DataFrame:
    """A row per γ; every ratio comes from the same rounds."""
    small, large = work.models.values()
    questions = work.prompts[:prompts]
    alone = {name: Generator(m, [work.end], rows=batch) for name, m in (("small", small), ("large", large))}
    plain = {name: [a.tokens for a in generator(questions, NEW)] for name, generator in alone.items()}
    chains = {n: SpeculativeCascade(small, large, gamma=n, rows=batch, max_length=CONTEXT) for n in GAMMAS}
    answers = {n: chain.generate(questions, NEW) for n, chain in chains.items()}
    steps = {name: generator.steps for name, generator in alone.items()}
    seconds = paired.rounds(
        {name: lambda g=g: g(questions, NEW) for name, g in alone.items()}
        | {n: lambda chain=chain: chain.generate(questions, NEW) for n, chain in chains.items()}
        | {f"pass over {n + 1}": passes(large, batch, n + 1) for n in (0, *GAMMAS)},
        count,
    )
    cost = paired.ratio(seconds, "small", "large") * steps["large"] / steps["small"]
    return pd.DataFrame(
        {"rows at a time": batch, "prompts": len(questions), "γ": n}
        | _accounts(answers[n], plain["large"], n, cost, paired.ratio(seconds, f"pass over {n + 1}", "pass over 1"))
        | {"speed-up": paired.ratio(seconds, "large", n)}
        for n in chains
    ).assign(
        **{
            "share of expected": lambda table: table["speed-up"] / table["expected with v"],
            "promise": "≥ 0.9",
            "compilations": [chain.compilations for chain in chains.values()],
        }
    )


def passes(model, rows: int, tokens: int, times: int = 20):
    """A function that reads `tokens` new tokens in each row after 64 others, `times` times."""
    reader, static = slots.SlotModel(model), compiling.needs_static_shapes()
    specs = [((rows, tokens), "int32")] * 2 + [[((rows, *shape[1:]), dtype) for shape, dtype in reader.spec]]

    def logits(new, positions, cache):
        return reader.logits(reader.read(new, positions, cache)[0])

    read = compiling.compiled(logits, specs, model, static)
    new, positions = ops.ones((rows, tokens), "int32"), ops.tile(64 + ops.arange(tokens)[None], (rows, 1))
    cache = reader.empty(rows, 2 * slots.STEP)
    return lambda: [ops.convert_to_numpy(read(new, positions, cache)) for _ in range(times)]


def _accounts(answers, plain: list, gamma: int, cost: float, pass_cost: float) -> dict:
    """What speculation did, and the speed-up that the formula expects of it.

    Args:
        answers: of the cascade. plain: tokens of the large model's own answers.
        cost: c, of a step of the small model. pass_cost: v, of a pass over γ + 1 tokens; see the note of `speculative`.
    """
    accepted, rejected, calls = (sum(getattr(a, n) for a in answers) for n in ("accepted", "rejected", "large_calls"))
    rate = accepted / max(accepted + rejected, 1)
    tokens = expected_tokens(rate, gamma)
    return {
        "equal answers": float(np.mean([a.tokens == b for a, b in zip(answers, plain, strict=True)])),
        "a": rate,
        "tokens per pass": sum(len(a.tokens) for a in answers) / calls,
        "expected tokens": float(tokens),
        "c": cost,
        "v": pass_cost,
        "expected speed-up": float(expected_speedup(rate, gamma, cost)),
        "expected with v": float(tokens / ((gamma + 1) * cost + pass_cost)),
    }


def cascade(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Throughput of a cascade against what its models take alone."""
    limits = {"max_length": CONTEXT, "max_new_tokens": NEW}
    small, large = (ck.Predictor(model, **limits) for model in work.models.values())
    both = ck.Cascade(list(work.models.values()), "chow-average", [0.0], **limits)
    scores = both.rule(small(work.examples))
    both.thresholds = [float(np.sort(scores)[round(DEFERRED * len(scores))])]
    deferred = [e for e, score in zip(work.examples, scores, strict=True) if score < both.thresholds[0]]
    seconds = paired.rounds(
        {
            "small": lambda: small(work.examples),
            "large": lambda: large(work.examples),
            "large on the deferred": lambda: large(deferred),
            "cascade": lambda: both(work.examples),
        },
        count,
    )
    share = len(deferred) / len(work.examples)
    seconds["ideal: c_S + r c_L"] = seconds["small"] + share * seconds["large"]
    seconds["small, then large on the deferred"] = seconds["small"] + seconds["large on the deferred"]
    return pd.DataFrame(
        {
            "answers by": name,
            "queries": len(deferred) if name == "large on the deferred" else len(work.examples),
            "seconds": float(seconds[name].median()),
            "throughput of the cascade relative to it": paired.ratio(seconds, name, "cascade"),
            "promise": "≥ 0.85" if name.startswith("ideal") else "",
        }
        for name in seconds
    ), f"{len(work.examples)} prompts of {TASK}, small model 1M, large model 6M, {share:.1%} deferred by Chow-Average."
