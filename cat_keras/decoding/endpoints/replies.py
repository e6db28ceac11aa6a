"""What a server answered, read from its JSON: text, log-probabilities of the tokens, and usage.

Log-probabilities come in two forms. `/chat/completions` has {"content": [{"token", "logprob", "top_logprobs"}]}, which
llama.cpp gives at `/completions` too; the older form there is {"tokens", "token_logprobs", "top_logprobs"}.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Malformed(Exception):
    """An answer that is not what the interface promises. The message ends the sentence "Received: …"."""


class NoLogprobs(Malformed):
    """An answer without the log-probabilities that were asked for."""


class Token(NamedTuple):
    """One token. logprob: NaN where there is none. margin: of `Prediction.token_margins`, NaN likewise."""

    text: str
    logprob: float
    margin: float


@dataclass(frozen=True)
class Reply:
    """An answer to one request.

    Attributes:
        text: what was written; with `echo`, after what was read.
        tokens: of the text; () if they were not asked for.
        read, written: tokens, as the server counts and bills them.
        seconds: from the request to its answer, waiting and further tries included.
    """

    text: str
    tokens: tuple[Token, ...]
    read: int
    written: int
    seconds: float

    def config(self) -> list:
        """All fields in JSON values."""
        tokens = [[t.text, *(None if math.isnan(x) else x for x in t[1:])] for t in self.tokens]
        return [self.text, tokens, self.read, self.written, self.seconds]

    @classmethod
    def from_config(cls, values: list) -> "Reply":
        """The reply that `config` was of; raises ValueError or TypeError where it is of something else."""
        text, tokens, read, written, seconds = values
        tokens = tuple(Token(t, *(math.nan if x is None else float(x) for x in numbers)) for t, *numbers in tokens)
        return cls(str(text), tokens, int(read), int(written), float(seconds))


def read(payload, logprobs: bool, seconds: float) -> Reply:
    """The reply in a server's JSON.

    Args:
        payload: what the JSON holds. logprobs: whether they were asked for. seconds: see `Reply`.

    Raises:
        Malformed: something is missing or of another kind. NoLogprobs: a text without its log-probabilities.
    """
    if not isinstance(payload, Mapping):
        raise Malformed(f"JSON that is no answer, {payload!r:.80}")
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise Malformed(f"an answer without choices, {dict(payload)!r:.200}")
    choice = choices[0]
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text", 0)
    if not isinstance(text, str | None):
        raise Malformed(f"an answer without a text, {dict(choice)!r:.200}")
    text = text or ""  # null where a filter took it
    tokens = _tokens(choice.get("logprobs")) if logprobs else ()
    # llama.cpp gives none of bytes that are no whole character, which end an answer that is cut.
    if logprobs and text.strip("\ufffd") and not tokens:
        raise NoLogprobs("an answer without log-probabilities of its tokens")
    usage = payload.get("usage")
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(usage, Mapping) else []
    if not counts or not all(type(count) is int and count >= 0 for count in counts):
        raise Malformed(f"an answer that does not say how many tokens it took, usage={usage!r:.80}")
    return Reply(text, tokens, *counts, seconds)


def _tokens(logprobs) -> tuple[Token, ...]:
    try:
        if not logprobs:
            return ()
        if logprobs.get("content") is not None:
            return tuple(
                _token(e["token"], e["logprob"], [t["logprob"] for t in e.get("top_logprobs") or ()])
                for e in logprobs["content"]
            )
        texts, values = logprobs.get("tokens") or (), logprobs.get("token_logprobs") or ()
        tops = logprobs.get("top_logprobs") or [None] * len(texts)
        return tuple(
            _token(text, value, list((top or {}).values()))
            for text, value, top in zip(texts, values, tops, strict=True)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Malformed(f"log-probabilities in an unknown form, {logprobs!r:.120}") from None


def _token(text, logprob, top) -> Token:
    probabilities = sorted((math.exp(min(value, 0.0)) for value in top), reverse=True)
    margin = probabilities[0] - probabilities[1] if len(probabilities) > 1 else math.nan
    if not isinstance(text, str):
        raise ValueError("a token that is no text")
    return Token(text, math.nan if logprob is None else float(logprob), margin)


def within(reply: Reply, ends: tuple[str, ...] = ()) -> tuple[str, tuple[Token, ...]]:
    """The text of a reply before the first of the texts that end it, and the tokens that hold it.

    Servers leave the end out of the text, and some leave its tokens among the others.
    """
    text = reply.text
    places = [place for place in map(text.find, ends) if place >= 0]
    text = text[: min(places)] if places else text
    if len("".join(t.text for t in reply.tokens)) <= len(text):
        return text, reply.tokens
    length, kept = 0, []
    for token in reply.tokens:
        if length >= len(text):
            break
        kept.append(token)
        length += len(token.text)
    return text, tuple(kept)


def after(reply: Reply, prompt: str, option: str) -> tuple[Token, ...]:
    """The tokens of the option in an echo of prompt and option, the one over the border included.

    Servers may show the start token before the prompt, and a token of SentencePiece without the blank that it begins
    with. Where the tokens do not make up the text, they are therefore compared without blanks.

    Raises:
        Malformed: the tokens do not make it up then either. NoLogprobs: the text was not returned, or a token of the
            option has no log-probability.
    """
    if not reply.text.startswith(prompt + option):
        raise NoLogprobs("an answer that does not begin with the prompt: this server does not know `echo`")
    for shown in (str, lambda text: "".join(text.split())):
        texts = [shown(token.text) for token in reply.tokens]
        start = "".join(texts).find(shown(prompt + option))
        if start >= 0:
            break
    else:
        raise Malformed("tokens that do not make up the text which they are of")
    first, last = start + len(shown(prompt)), start + len(shown(prompt + option))
    ends = list(itertools.accumulate(map(len, texts)))
    tokens = [
        token
        for token, text, end in zip(reply.tokens, texts, ends, strict=True)
        if end > first and end - len(text) < last
    ]
    if not tokens or any(math.isnan(token.logprob) for token in tokens):
        raise NoLogprobs("an echo without the log-probabilities of the option")
    return tuple(tokens)
