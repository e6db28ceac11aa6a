"""What a column of a table may say, and which of them a header is likely to mean."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cat_keras.errors import CatKerasError, unknown_name


class Role(NamedTuple):
    """What a column says of an answer.

    Attributes:
        kind: "text"; "unit", a number in [0, 1]; "logprob", nats, at most 0; "amount", a number of at least 0; "list",
            numbers; "texts". words: what it means. names: headers that mean it, the likeliest first, as `normalised`.
    """

    kind: str
    words: str
    names: tuple[str, ...]


ROLES: dict[str, Role] = {
    "id": Role("text", "names the question", (
        "id", "question_id", "sample_id", "example_id", "prompt_id", "query_id", "doc_id", "qid", "uid", "idx",
        "index")),
    "model": Role("text", "names the model", ("model", "llm", "model_name", "model_id", "engine", "system")),
    "task": Role("text", "names the task", (
        "task", "dataset", "benchmark", "qset", "task_name", "evaluation_name", "eval", "subject", "domain")),
    "run": Role("text", "names a run, seed or sample of one model", (
        "run", "seed", "epoch", "repeat", "trial", "sample", "sample_index")),
    "quality": Role("unit", "quality of the answer", (
        "correct", "is_correct", "quality", "score", "acc", "accuracy", "exact_match", "em", "correctness",
        "reward", "grade", "graded", "f1", "pass")),
    "confidence": Role("unit", "probability of the answer", (
        "confidence", "conf", "msp", "max_token_confidence", "token_confidence", "max_prob", "max_probability",
        "probability", "prob", "answer_prob", "chosen_token_confidence")),
    "stated_confidence": Role("unit", "confidence as the model stated it", (
        "stated_confidence", "verbal_confidence", "verbalized_confidence", "self_reported_confidence")),
    "p_true": Role("unit", "P(True) of the answer", ("p_true", "ptrue", "prob_true", "p_is_true")),
    "agreement": Role("unit", "share of samples that agree", ("agreement", "self_consistency", "consistency")),
    "logprob": Role("logprob", "log-probability of the answer, nats (mean or sum over its tokens)", (
        "logprob", "avg_logprob", "mean_logprob", "average_logprob", "log_prob", "answer_logprob", "seq_logprob",
        "sum_logprob", "cumulative_logprob")),
    "token_logprobs": Role("list", "log-probability of each token, nats", ("token_logprobs", "logprobs")),
    "option_logprobs": Role("list", "log-likelihood of each option, nats", (
        "option_logprobs", "choice_logprobs", "option_loglikelihoods", "loglikelihoods")),
    "cost": Role("amount", "cost of the answer", (
        "cost", "cost_usd", "price_usd", "cost_eur", "cost_gbp", "total_cost", "total_cost_usd", "usd", "price",
        "flops")),
    "n_prompt": Role("amount", "tokens read", ("n_prompt", "tokens_in", "input_tokens", "prompt_tokens")),
    "n_answer": Role("amount", "tokens written", ("n_answer", "tokens_out", "output_tokens", "completion_tokens")),
    "seconds": Role("amount", "seconds", (
        "seconds", "latency", "latency_s", "latency_seconds", "duration", "time_s", "latency_ms")),
    "text": Role("text", "the answer", ("answer", "text", "output", "response", "prediction", "completion",
        "generation")),
    "prompt": Role("text", "the question", ("prompt", "question", "input", "query")),
    "target": Role("text", "the right answer", ("target", "reference", "gold", "expected", "ground_truth", "label")),
    "options": Role("texts", "the options", ("options", "choices")),
    "question": Role("text", "tells a question from others", ("doc_hash", "sample_hash", "question_hash")),
}  # fmt: skip
PER_MODEL = ("quality", "confidence", "stated_confidence", "p_true", "agreement", "logprob", "token_logprobs",
             "option_logprobs", "cost", "n_prompt", "n_answer", "seconds", "text")  # fmt: skip
SCALES = {"latency_ms": 1000.0}  # of headers that name another unit: what their numbers are divided by


def normalised(header: str) -> str:
    """Lower case, one underscore for whatever is no letter or digit: "Tokens (in)" is "tokens_in"."""
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")


def guess(headers: Iterable[str], named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Role → header, of those that a header means; the likeliest where several mean one.

    Args:
        headers: of a long table. named: roles that the user gave a header.

    Raises:
        CatKerasError: a role or a header that does not exist.
    """
    headers, named = list(headers), dict(named or {})
    for role, header in named.items():
        if role not in ROLES:
            raise unknown_name("role of a column", role, ROLES)
        if header not in headers:
            raise CatKerasError(
                f"--column {role}={header} names a column of the table. Received: columns {', '.join(headers)}"
            )
    taken = set(named.values())
    likely = {normalised(header): header for header in reversed(headers) if header not in taken}
    found = {
        role: next((likely[name] for name in each.names if name in likely), None)
        for role, each in ROLES.items()
        if role not in named
    }
    return {role: header for role, header in (named | found).items() if header}


def wide(headers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Model → role → header, of a table with a column for each model and role: `small_correct`, `msp.gpt-4`."""
    found: dict[str, dict[str, str]] = {}
    exact = {name for role in ROLES.values() for name in role.names}
    for header in headers:
        if normalised(header) in exact:
            continue
        model, role = _split(header)
        if model:
            found.setdefault(model, {}).setdefault(role, header)
    return {model: roles for model, roles in found.items() if "quality" in roles}


def _split(header: str) -> tuple[str, str]:
    """(model, role) of a header that joins them in either order by `_`, `.`, `:`, `/`, `-` or a blank; ("", "")."""
    every = sorted(((name, role) for role in PER_MODEL for name in ROLES[role].names), key=lambda pair: -len(pair[0]))
    plain = re.sub(r"[^a-z0-9]", "_", header.lower())  # of equal length
    for name, role in every:
        if len(header) > len(name) + 1:
            if plain.endswith(f"_{name}"):
                return header[: -len(name) - 1], role
            if plain.startswith(f"{name}_"):
                return header[len(name) + 1 :], role
    return "", ""
