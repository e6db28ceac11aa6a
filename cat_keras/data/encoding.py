"""From texts to token ids: examples become one ragged array, in which each sequence fits the context of a model."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cat_keras.data.chat import Chat, Turn, turn_of
from cat_keras.data.fitting import Fit, fit
from cat_keras.data.records import Example
from cat_keras.errors import TOKENS, CatKerasError, check_list, check_number
from cat_keras.modeling import tokenizers
from cat_keras.modeling.tokens import tokenize as tokenize  # it is part of this module's subject
from cat_keras.storage.untrusted import read_npz


@dataclass(frozen=True)
class Encoded:
    """Examples as one ragged int32 array: `start, prompt, target, end` each, loss on `target, end`.

    Attributes:
        tokens: (total,) int32, the sequences one after the other.
        offsets: (n + 1,) int64, where each example begins.
        n_prompt: (n,) int32, tokens before the target, the start token included.
        ids: names of the examples, "task/id".
        truncated: how many prompts were cut to fit.
        dropped: names of the examples that were left out because their target was too long.
        tokenizer: fingerprint of the tokenizer.
        overlong: of the prompts cut, those that lost more than `Example.cut` allows; the rest alone was too long.
        control_words: in how many examples prompt or target hold the word of a control token, such as `<eos>`; it was
            encoded as text.
        named_by: the hash that takes the place of `tokenizer` in `fingerprint`, or ""; see `known_to_be_of`.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    n_prompt: np.ndarray
    ids: tuple[str, ...]
    truncated: int
    dropped: tuple[str, ...]
    tokenizer: str
    overlong: int = 0
    control_words: int = 0
    named_by: str = ""

    def __len__(self):
        return len(self.n_prompt)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) int32, model inputs per example: one less than its tokens, since the last is only predicted."""
        return self._all_tokens_but(1)

    @cached_property
    def n_target(self) -> np.ndarray:
        """(n,) int32, target tokens per example, the end token included."""
        return self._all_tokens_but(self.n_prompt)

    def _all_tokens_but(self, fewer) -> np.ndarray:
        """(n,) int32, tokens per example less some; never held as int64, which counts where there are millions."""
        counts = np.empty(len(self), np.int32)
        np.subtract(self.offsets[1:], self.offsets[:-1], out=counts, casting="unsafe")
        counts -= fewer
        counts.flags.writeable = False
        return counts

    def sequence(self, row: int) -> np.ndarray:
        """The tokens of an example, int32."""
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over tokens, boundaries and tokenizer."""
        digest = hashlib.sha256((self.named_by or self.tokenizer).encode())
        for content in self._contents():
            digest.update(content)
        return digest.hexdigest()

    def _contents(self) -> Iterator[memoryview | bytes]:
        """The arrays as bytes, one after the other."""
        for array in (self.tokens, self.offsets, self.n_prompt):
            yield np.ascontiguousarray(array).data

    def known_to_be_of(self, tokenizer) -> "Encoded":
        """The same data, for a caller who knows by other means than the file that this tokenizer encoded them.

        A file of version 0.1 holds `tokenizers.vocabulary_fingerprint` alone, which does not tell all of a tokenizer.
        An entry of a run's cache is named by the files of its tokenizer, so there it is known. The data keep the name
        that such a file gives them, under which teacher columns and checkpoints of that cache know them.
        """
        named_by = tokenizers.vocabulary_fingerprint(tokenizer)
        return replace(self, tokenizer=tokenizers.fingerprint(tokenizer), named_by=named_by)

    def save(self, path: Path):
        """Writes an uncompressed npz archive."""
        np.savez(
            path,
            tokens=self.tokens,
            offsets=self.offsets,
            n_prompt=self.n_prompt,
            ids=np.array(self.ids, dtype=np.str_),
            truncated=self.truncated,
            dropped=np.array(self.dropped, dtype=np.str_),
            tokenizer=self.tokenizer,
            overlong=self.overlong,
            control_words=self.control_words,
            named_by=self.named_by,
        )

    @classmethod
    def load(cls, path: Path) -> "Encoded":
        """Reads what `save` wrote.

        Raises:
            CatKerasError: the file is damaged, or its arrays declare more bytes than it has.
        """
        arrays = read_npz(path)
        return cls(
            arrays["tokens"],
            arrays["offsets"],
            arrays["n_prompt"],
            tuple(arrays["ids"].tolist()),
            int(arrays["truncated"]),
            tuple(arrays["dropped"].tolist()),
            str(arrays["tokenizer"]),
            *(int(arrays.get(name, 0)) for name in ("overlong", "control_words")),  # archives of older code lack them
            str(arrays.get("named_by", "")),
        )


def join(prompt: list[int], target: list[int], tokenizer, max_length: int, end: bool = True, turn: Turn | None = None):
    """One sequence `start, prompt, target, end` of at most `max_length` tokens.

    A prompt that is too long loses its *beginning*; the target and its end token are never cut. `fit` shortens a prompt
    before that where its example says what may be cut.

    Args:
        prompt: token ids from `turn.ids`. target: token ids without special tokens.
        tokenizer: says the ids of the special tokens.
        max_length: tokens, special ones included.
        end: whether to append the end token.
        turn: in a chat, the ids around the prompt and at the end.

    Returns:
        (tokens, n_prompt, was_cut), or None if the target alone does not fit.
    """
    turn = turn or turn_of(None, tokenizer)
    answer = target + ([turn.end] if end else [])
    room = turn.room(max_length - len(answer))
    if room < turn.least:
        return None
    asked = [*turn.before, *turn.last(prompt, room), *turn.tail]
    return asked + answer, len(asked), len(prompt) > room


def prompts_within(queries: Sequence[str | Example], tokenizer, room: int,
                   turn: Turn | None = None) -> tuple[list[list[int]], Fit]:  # fmt: skip
    """Token ids of prompts for decoding, start token first, at most `room` each; and what was cut.

    Args:
        queries: prompts, or examples, which also say what of a prompt may be cut.
        tokenizer: a KerasHub tokenizer.
        room: tokens, special ones included.
        turn: in a chat, what stands around each prompt.

    Raises:
        CatKerasError: there is no room for what stands around a prompt.
    """
    turn = turn or turn_of(None, tokenizer)
    queries = [Example("", q, "") if isinstance(q, str) else q for q in check_list("prompts", queries)]
    examples = check_list("prompts", queries, Example)
    if turn.room(room) < turn.least:
        raise CatKerasError(
            f"A context has room for the answer and for what stands around a prompt. Received: {room} tokens for a "
            f"start, a system prompt and turns of {room - turn.room(room) + turn.least}. Raise max_length"
        )
    fitted = fit(examples, [turn.room(room)] * len(examples), turn)
    return [[*turn.before, *ids, *turn.tail] for ids in fitted.prompts], fitted


def encode(examples: Sequence[Example], tokenizer, max_length: int, long_targets: str = "error",
           chat: Chat | None = None) -> Encoded:  # fmt: skip
    """Tokenizes examples for training.

    Args:
        examples: prompts and targets; prompt and target are tokenized apart, so that no token spans the two.
        tokenizer: a KerasHub tokenizer.
        max_length: the context, in tokens, special ones included.
        long_targets: what to do with a target that does not fit the context: "error", or "drop" the example.
        chat: for an instruct model, how it is asked; a target then ends as the model ends its turn.

    Raises:
        CatKerasError: there are no examples; a target is empty; a target does not fit, under "error"; a prompt is
            empty and the tokenizer has no start token.
    """
    check_number("max_length", max_length, TOKENS, whole=True)
    examples = check_list("examples", examples, Example)
    if not len(examples):
        raise CatKerasError("Training data holds at least one example. Received: none")
    turn = turn_of(chat, tokenizer)
    targets = turn.data([e.target for e in examples])
    fitted = fit(examples, [turn.room(max_length - len(target) - 1) for target in targets], turn)
    words = turn.control
    sequences, n_prompt, ids, dropped, kept = [], [], [], [], []
    for row, (example, prompt, target) in enumerate(zip(examples, fitted.prompts, targets, strict=True)):
        name = f"{example.task}/{example.id}"
        if not target:
            raise CatKerasError(f"A target has at least one token. Received: {example.target!r} in example {name}")
        if not prompt and not fitted.cut[row] and not turn.before:
            raise CatKerasError(
                "Without a start token, which this tokenizer does not have, a prompt has at least one token. "
                f"Received: an empty prompt in example {name}"
            )
        sequence = join(prompt, target, tokenizer, max_length, turn=turn)
        if sequence is None and long_targets == "error":
            raise CatKerasError(
                f"A target fits the context. Received: {len(target)} tokens in example {name}, context {max_length}. "
                'Raise max_length, or leave such examples out with long_targets="drop"'
            )
        if sequence is None:
            dropped.append(name)
            continue
        tokens, length, _ = sequence
        sequences.append(tokens)
        n_prompt.append(length)
        kept.append(row)
        ids.append(name)
    return Encoded(
        tokens=np.concatenate([np.asarray(s, np.int32) for s in sequences]) if sequences else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(s) for s in sequences])]).astype(np.int64),
        n_prompt=np.asarray(n_prompt, np.int32),
        ids=tuple(ids),
        truncated=int(fitted.cut[kept].sum()),
        dropped=tuple(dropped),
        tokenizer=tokenizers.fingerprint(tokenizer),
        overlong=int(fitted.overlong[kept].sum()),
        control_words=sum(bool(words.within(e.prompt) or words.within(e.target)) for e in examples),
    )
