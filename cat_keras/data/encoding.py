"""Text → token arrays → fixed-shape batches, as pure functions of (data, seed, step)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.modeling.models import special_id, tokenizer_fingerprint
from cat_keras.storage.untrusted import read_npz


@dataclass(frozen=True)
class Encoded:
    """Examples as one ragged int32 array: `start, prompt, target, end` each, loss on `target, end`.

    Attributes:
        tokens: (total,) int32. offsets: (n + 1,) int64, where each example begins.
        n_prompt: (n,) int32, tokens before the target, the start token included.
        ids: names of the examples, "task/id".
        truncated: how many prompts were cut to fit. dropped: names of examples left out for a target too long.
        tokenizer: fingerprint of the tokenizer.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    n_prompt: np.ndarray
    ids: tuple[str, ...]
    truncated: int
    dropped: tuple[str, ...]
    tokenizer: str

    def __len__(self):
        return len(self.n_prompt)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) model inputs per example: one less than its tokens, since the last is only predicted."""
        return np.diff(self.offsets) - 1

    @property
    def n_target(self) -> np.ndarray:
        """(n,) target tokens per example, the end token included."""
        return np.diff(self.offsets) - self.n_prompt

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over tokens, boundaries and tokenizer."""
        digest = hashlib.sha256(self.tokenizer.encode())
        for array in (self.tokens, self.offsets, self.n_prompt):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: Path):
        np.savez(
            path,
            tokens=self.tokens,
            offsets=self.offsets,
            n_prompt=self.n_prompt,
            ids=np.array(self.ids, dtype=np.str_),
            truncated=self.truncated,
            dropped=np.array(self.dropped, dtype=np.str_),
            tokenizer=self.tokenizer,
        )

    @classmethod
    def load(cls, path: Path) -> "Encoded":
        """Raises CatKerasError when the file is damaged, or larger than it says."""
        z = read_npz(path)
        return cls(
            z["tokens"],
            z["offsets"],
            z["n_prompt"],
            tuple(z["ids"].tolist()),
            int(z["truncated"]),
            tuple(z["dropped"].tolist()),
            str(z["tokenizer"]),
        )


def tokenize(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    if not len(texts):
        return []
    ids = tokenizer(list(texts))
    return ids.to_list() if hasattr(ids, "to_list") else [list(map(int, row)) for row in ids]


def join(prompt: list[int], target: list[int], tokenizer, max_length: int, end: bool = True):
    """One sequence `start, prompt, target, end` of at most `max_length` tokens.

    The prompt loses its *beginning* when it is too long; the target and its end token are never cut.

    Returns:
        (tokens, n_prompt, was_cut), or None when the target alone does not fit.
    """
    start = special_id(tokenizer, "start")
    head = [] if start is None else [start]
    tail = target + ([special_id(tokenizer, "end")] if end else [])
    room = max_length - len(head) - len(tail)
    # A causal model predicts from something: without a start token one prompt token has to stay.
    if room < (0 if head else 1):
        return None
    kept = prompt[len(prompt) - room :] if len(prompt) > room else prompt
    return head + kept + tail, len(head) + len(kept), len(kept) < len(prompt)


def prompts_within(texts: Sequence[str], tokenizer, room: int) -> tuple[list[list[int]], int]:
    """Token ids of prompts for decoding, start token first, at most `room` each; and how many lost their beginning."""
    joined = [join(ids, [], tokenizer, room, end=False) for ids in tokenize(tokenizer, texts)]
    return [tokens for tokens, _, _ in joined], sum(cut for _, _, cut in joined)


def encode(examples: Sequence[Example], tokenizer, max_length: int, long_targets: str = "error") -> Encoded:
    """Tokenizes examples for training.

    Args:
        examples: prompts and targets; prompt and target are tokenized apart, so that no token spans the two.
        tokenizer: a KerasHub tokenizer.
        max_length: the context, in tokens, specials included.
        long_targets: what to do with a target that does not fit the context: "error", or "drop" the example.

    Raises:
        CatKerasError: no examples; an empty target; a target that does not fit, under "error"; an empty prompt and a
            tokenizer without a start token.
    """
    if not examples:
        raise CatKerasError("Training data holds at least one example. Received: none")
    prompts = tokenize(tokenizer, [e.prompt for e in examples])
    targets = tokenize(tokenizer, [e.target for e in examples])
    sequences, n_prompt, ids, dropped, truncated = [], [], [], [], 0
    for example, prompt, target in zip(examples, prompts, targets, strict=True):
        name = f"{example.task}/{example.id}"
        if not target:
            raise CatKerasError(f"A target has at least one token. Received: {example.target!r} in example {name}")
        if not prompt and special_id(tokenizer, "start") is None:
            raise CatKerasError(
                "Without a start token, which this tokenizer does not have, a prompt has at least one token. "
                f"Received: an empty prompt in example {name}"
            )
        joined = join(prompt, target, tokenizer, max_length)
        if joined is None and long_targets == "error":
            raise CatKerasError(
                f"A target fits the context. Received: {len(target)} tokens in example {name}, context {max_length}. "
                'Raise max_length, or leave such examples out with long_targets="drop"'
            )
        if joined is None:
            dropped.append(name)
            continue
        sequences.append(joined[0])
        n_prompt.append(joined[1])
        truncated += joined[2]
        ids.append(name)
    return Encoded(
        tokens=np.concatenate([np.asarray(s, np.int32) for s in sequences]) if sequences else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(s) for s in sequences])]).astype(np.int64),
        n_prompt=np.asarray(n_prompt, np.int32),
        ids=tuple(ids),
        truncated=truncated,
        dropped=tuple(dropped),
        tokenizer=tokenizer_fingerprint(tokenizer),
    )
