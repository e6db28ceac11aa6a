"""Text → token arrays → fixed-shape batches, as pure functions of (data, seed, step)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cat_keras import losses
from cat_keras.errors import CatKerasError
from cat_keras.models import special_id, tokenizer_fingerprint
from cat_keras.records import Example
from cat_keras.untrusted import read_npz


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


def bucket_lengths(lengths: np.ndarray, count: int, multiple: int = 8) -> tuple[int, ...]:
    """At most `count` padded lengths, multiples of `multiple`, that minimise padding over `lengths`.

    Each length is one compilation under XLA; dynamic programming over the distinct rounded lengths finds the best set.
    """
    rounded = -(-np.asarray(lengths) // multiple) * multiple
    edges, sizes = np.unique(rounded, return_counts=True)
    total = np.concatenate([[0], np.cumsum(sizes)])
    # best[j]: (padded tokens, chosen edges) with the shortest j edges covered.
    best = [(0, ())] + [(total[j] * int(edges[j - 1]), (int(edges[j - 1]),)) for j in range(1, len(edges) + 1)]
    for _ in range(count - 1):
        best = [best[0]] + [
            min(
                (best[i][0] + (total[j] - total[i]) * int(edges[j - 1]), best[i][1] + (int(edges[j - 1]),))
                for i in range(j)
            )
            for j in range(1, len(edges) + 1)
        ]
    return best[-1][1]


def pad(data: Encoded, rows: np.ndarray, length: int, batch_size: int, scope: str = "target") -> dict[str, np.ndarray]:
    """The arrays of one batch, (batch_size, length) int32 each; missing rows are all padding.

    Returns:
        token_ids, padding_mask, labels (the next token), weights (1 where the loss counts: on target tokens, or on
        every token with scope="all").
    """
    token_ids, labels, mask, weights = (np.zeros((batch_size, length), np.int32) for _ in range(4))
    for i, row in enumerate(rows):
        sequence = data.tokens[data.offsets[row] : data.offsets[row + 1]]
        n = len(sequence) - 1
        token_ids[i, :n], labels[i, :n], mask[i, :n] = sequence[:-1], sequence[1:], 1
        first = data.n_prompt[row] - 1 if scope == "target" else 0
        weights[i, max(first, 0) : n] = 1
    # A row of padding alone would attend to nothing: softmax over an empty set is NaN in some backends.
    mask[len(rows) :, 0] = 1
    return {"token_ids": token_ids, "padding_mask": mask, "labels": labels, "weights": weights}


def windows(
    data: Encoded, batch_size: int, edges: np.ndarray, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Every example (or those of `rows`) once, padded to `edges`: (row numbers, `pad` arrays). For scoring."""
    rows = np.arange(len(data)) if rows is None else rows
    order = rows[np.argsort(data.lengths[rows], kind="stable")]
    bucket = np.searchsorted(edges, data.lengths[order])
    for b, length in enumerate(edges):
        members = order[bucket == b]
        for i in range(0, len(members), batch_size):
            chosen = members[i : i + batch_size]
            yield chosen, pad(data, chosen, int(length), batch_size)


class Batches(keras.utils.PyDataset):
    """Training batches for `fit`: `batch(step)` depends on (data, seed, batch_size, step) alone.

    Examples are shuffled within length buckets and the batches of an epoch are shuffled too. An incomplete last batch
    of a bucket is filled with rows of weight 0, so that shapes are static.

    Args:
        data: from `encode`.
        batch_size: examples per global batch; None with `batch_tokens`.
        seed: of the order.
        batch_tokens: computed tokens per global batch, padding included, instead of `batch_size`: short examples then
            make larger batches, of about equal cost.
        loss: the objective (or its name), which names the teacher columns it reads.
        teacher: a `TeacherCache` over the same data, when the objective reads columns of the large model.
        start: a `TeacherCache` over the same data of the checkpoint that training starts from, for mask="start".
        scope: "target" (loss on target tokens) or "all" (plain next-token loss, for pretraining).
        buckets: how many padded lengths.

    Raises:
        CatKerasError: no examples, not one of the two batch sizes, or a teacher that was built for other data or lacks
            a column.
    """

    def __init__(
        self,
        data,
        batch_size=None,
        *,
        batch_tokens=None,
        seed=0,
        loss=None,
        teacher=None,
        start=None,
        scope="target",
        buckets=4,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not len(data):
            raise CatKerasError("Training data holds at least one example. Received: none")
        given = [size for size in (batch_size, batch_tokens) if size is not None]
        if len(given) != 1 or given[0] < 1:
            raise CatKerasError(
                "A batch has either batch_size examples or batch_tokens tokens, at least 1. "
                f"Received: batch_size={batch_size}, batch_tokens={batch_tokens}"
            )
        self.data, self.batch_size, self.batch_tokens, self.seed, self.scope = (
            data,
            batch_size,
            batch_tokens,
            seed,
            scope,
        )
        needed = losses.get(loss).columns if loss is not None else ()
        self._uniform = "uniform" in needed
        self._columns = [c for c in needed if c not in ("uniform", "start_right")]
        self.teacher = teacher if self._columns else None
        self.start = start if "start_right" in needed else None
        if self.teacher is not None:
            self.teacher.check(data, losses.get(loss))
        if self.start is not None:
            self.start.check(data)
        self.edges = bucket_lengths(data.lengths, buckets)
        self._bucket = np.searchsorted(np.asarray(self.edges), data.lengths)
        self._sizes = [batch_size or max(batch_tokens // edge, 1) for edge in self.edges]
        self._batches = [-(-n // size) for n, size in zip(self._counts(), self._sizes, strict=True)]
        self.steps_per_epoch = int(sum(self._batches))
        self._epoch, self._plan, self._swap = -1, (-1, []), (-1, {})

    def _counts(self):
        """Examples per bucket."""
        return np.bincount(self._bucket, minlength=len(self.edges))

    def _rows(self, step):
        """(row numbers, padded length) of a step; an epoch's plan is kept until the next epoch is asked for."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._planned(epoch)[position]

    def _planned(self, epoch):
        if self._plan[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.data))
            plan = []
            for b, (length, size) in enumerate(zip(self.edges, self._sizes, strict=True)):
                members = order[self._bucket[order] == b]
                plan += [(members[i : i + size], length) for i in range(0, len(members), size)]
            self._plan = epoch, [plan[i] for i in rng.permutation(len(plan))]
        return self._plan[1]

    def batch(self, step: int):
        """(x, y, sample_weight) of a global step, as `train_on_batch` takes them.

        x holds token_ids, padding_mask (int32; tf.distribute cannot sum booleans) and the teacher columns.
        """
        rows, length = self._rows(step)
        arrays = pad(self.data, rows, length, self._sizes[self.edges.index(length)], self.scope)
        labels, weights = arrays.pop("labels"), arrays.pop("weights")
        if self.teacher is not None:
            arrays |= self.teacher.batch(rows, weights, self._columns, labels)
        if self.start is not None:
            arrays["start_right"] = self.start.batch(rows, weights, ["teacher_right"])["teacher_right"]
        if self._uniform:
            rng = np.random.default_rng([self.seed, step, 1])
            arrays["uniform"] = rng.random(labels.shape, dtype=np.float32)
        return arrays, labels, weights

    def capacity(self, length: int, rows: int) -> int:
        """Target tokens that `rows` examples of a padded length hold in all but extreme draws; more is no error.

        One number per length, so that one compiled step serves: mean and five standard deviations of their sum.
        """
        if self.scope == "all":
            return rows * length
        counts = self.data.n_target[self._bucket == self.edges.index(length)]
        likely = rows * counts.mean() + 5 * np.sqrt(rows) * counts.std()
        return int(min(-(-likely // 64) * 64, rows * counts.max(), rows * length))

    @property
    def identity(self) -> list:
        """What decides the content of every batch, in values that JSON holds."""
        caches = [cache.header if cache is not None else None for cache in (self.teacher, self.start)]
        return [self.data.fingerprint, self._sizes, self.seed, self.scope, list(self.edges), *caches, self._columns]

    @property
    def padding_share(self) -> float:
        """Share of computed positions that are padding, over one epoch."""
        computed = np.dot(np.multiply(self._batches, self._sizes), self.edges)
        return float(1 - self.data.lengths.sum() / computed)

    def __len__(self):
        return self.steps_per_epoch

    def __getitem__(self, index):
        """A batch of the current epoch, for `fit`.

        Keras takes the shapes of all batches from the first two and rejects what differs: these two are of different
        lengths here, the second having changed places with the first batch of another length.
        """
        epoch = max(self._epoch, 0)  # the shapes are read before the first epoch begins
        if self._swap[0] != epoch:
            lengths = [length for _, length in self._planned(epoch)]
            other = next((i for i, length in enumerate(lengths) if length != lengths[0]), 1)
            self._swap = epoch, {1: other, other: 1}
        return self.batch(epoch * self.steps_per_epoch + self._swap[1].get(index, index))

    def on_epoch_begin(self):
        self._epoch += 1
