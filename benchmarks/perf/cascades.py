"""Two models at work together, against the formulas for what that saves."""

import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired
from benchmarks.perf.writers import CONTEXT, NEW, TASK, Writers
from cat_keras.generation import Generator
from cat_keras.speculative import expected_speedup, expected_tokens
from cat_keras.speculative_decoding import SpeculativeCascade

GAMMAS = (2, 4, 8)
BATCHES = {1: 32, 32: 256}  # rows at a time → prompts
DEFERRED = 0.25


def speculative(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Lossless greedy speculation against the large model alone, which takes a step per token."""
    rows = [_speculated(work, batch, prompts, count) for batch, prompts in BATCHES.items()]
    return pd.concat(rows), (
        f"Prompts of {TASK}, at most {NEW} new tokens, greedy, lossless; large model 6M, small model 1M. Acceptance a: "
        "of the drafts that were judged. c: time of a step of the small model over one of the large, each decoding "
        "alone. Expected: (1 − a^(γ+1)) / ((1 − a) ((γ + 1) c + 1)), as if a pass over γ + 1 tokens took as long as "
        "one over a single token."
    )


def _speculated(work, batch, prompts, count) -> pd.DataFrame:
    small, large = work.models.values()
    asked = work.prompts[:prompts]
    alone = {name: Generator(m, [work.end], rows=batch) for name, m in (("small", small), ("large", large))}
    plain = {name: [a.tokens for a in generator(asked, NEW)] for name, generator in alone.items()}
    steps = {name: generator.steps for name, generator in alone.items()}
    chains = {f"γ {n}": SpeculativeCascade(small, large, gamma=n, rows=batch, max_length=CONTEXT) for n in GAMMAS}
    answers = {name: chain.generate(asked, NEW) for name, chain in chains.items()}
    candidates = {name: lambda g=g: g(asked, NEW) for name, g in alone.items()}
    candidates |= {name: lambda chain=chain: chain.generate(asked, NEW) for name, chain in chains.items()}
    seconds = paired.rounds(candidates, count)
    cost = paired.ratio(seconds, "small", "large") * steps["large"] / steps["small"]
    return pd.DataFrame(
        {"rows at a time": batch, "prompts": len(asked), "γ": chain.gamma}
        | _accounts(answers[name], plain["large"], chain.gamma, cost)
        | {"speed-up": paired.ratio(seconds, "large", name)}
        for name, chain in chains.items()
    )


def _accounts(answers, plain, gamma, cost) -> dict:
    accepted, rejected, calls = (sum(getattr(a, n) for a in answers) for n in ("accepted", "rejected", "large_calls"))
    rate = accepted / max(accepted + rejected, 1)
    return {
        "acceptance": rate,
        "tokens per large pass": sum(len(a.tokens) for a in answers) / calls,
        "expected tokens": float(expected_tokens(rate, gamma)),
        "equal answers": float(np.mean([a.tokens == b for a, b in zip(answers, plain, strict=True)])),
        "c": cost,
        "expected speed-up": float(expected_speedup(rate, gamma, cost)),
    }


def cascade(work: Writers, count: int) -> tuple[pd.DataFrame, str]:
    """Throughput of a cascade against what its models take alone."""
    setting = {"max_length": CONTEXT, "max_new_tokens": NEW}
    small, large = (ck.Predictor(model, **setting) for model in work.models.values())
    both = ck.Cascade(list(work.models.values()), "chow-average", [0.0], **setting)
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
        }
        for name in seconds
    ), f"{len(work.examples)} prompts of {TASK}, small model 1M, large model 6M, {share:.1%} deferred by Chow-Average."
