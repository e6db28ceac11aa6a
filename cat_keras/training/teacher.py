"""The large model as data: what a loss reads of it, computed once per target token and stored in columns.

`cat-xent` reads one bit per target token. `dist` and `cat-dist` read a distribution, which is stored sparsely: as its
top k with an explicit tail (the loss handles it), or as unbiased samples with replacement (Random-Sampling KD,
arXiv 2503.16870).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from keras import ops

from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import bucket_lengths
from cat_keras.errors import COUNT, ROWS, SEED, TEMPERATURE, CatKerasError, check_number, unknown_name
from cat_keras.modeling import models, tokenizers
from cat_keras.storage import shards, store
from cat_keras.training import losses
from cat_keras.training.forward import Forward, over

FORMAT = 3  # of the header; 2 named a tokenizer by its vocabulary alone
DISTRIBUTIONS = ("none", "topk", "sampled")


class TeacherCache:
    """Columns of a frozen large model over the target tokens of an `Encoded` data set, in order.

    Attributes:
        right: (target tokens,) bool, whether the arg-max of the large model is the label.
        logprob: (target tokens,) float16, its log-probability of the label, nats.
        ids: (target tokens, K) unsigned integers of the narrowest type; None with distribution="none".
        probs: (target tokens, K) float16, the probabilities of `ids`; None with distribution="none".
        header: what the cache was built from: fingerprints of weights, tokenizer and data, and the arguments.

    The columns are arrays, or `shards.Column` over files, which are indexed like arrays.
    """

    def __init__(self, header, right, logprob, ids=None, probs=None):
        self.header, self.right, self.logprob, self.ids, self.probs = header, right, logprob, ids, probs
        self._starts = None  # (n + 1,) where the target tokens of each example begin; known after `check`

    @classmethod
    def build(
        cls,
        model,
        data: Encoded,
        distribution: str = "topk",
        k: int = 32,
        temperature: float = 1.0,
        seed: int = 0,
        batch_size: int = 32,
        progress: Callable[[int, int], None] | None = None,
        directory: Path | None = None,
        shard: int = shards.SHARD,
        report: Callable[[str], None] = print,
        part: tuple[int, int] | None = None,
    ) -> "TeacherCache | None":
        """Runs the large model once over the data.

        Args:
            model: a frozen `CausalLM` whose tokenizer made `data`.
            data: from `encode`.
            distribution: "none" (bits and label log-probabilities only), "topk", or "sampled".
            k: entries kept, or draws made, per token.
            temperature: of the stored distribution.
            seed: of the draws.
            batch_size: examples per forward pass.
            progress: called with (examples done, examples).
            directory: where each shard is written as soon as it is done; the next call uses the shards that are whole.
                Memory then does not grow with the data, and a kill loses one shard. None keeps all columns in memory.
            shard: examples per shard.
            report: called with one line when a damaged shard is found and built again.
            part: (i, n): only shards i, i + n, i + 2 n, … are written to the directory, for machines that share the
                work. There is no cache to return then: a call without `part` finds them.

        Raises:
            CatKerasError: the distribution is unknown, the data was encoded by another tokenizer, an example is longer
                than the model has positions, or there is no such part.
        """
        first, step = _checked_part(part, directory) if part else (0, 1)
        writer, ranges = _begun(model, data, distribution, k, temperature, seed, batch_size, progress, shard)
        header = writer.header
        if directory is None:
            parts = [writer.columns(number, rows) for number, rows in enumerate(ranges)]
            return cls(header, **{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
        for number in range(first, len(ranges), step):
            writer.write_unless_whole(Path(directory) / f"{number:05}", number, ranges[number], report)
        if part:
            return None
        store.seal(Path(directory), {"header": header, "counts": [int(data.n_target[r].sum()) for r in ranges]})
        return cls.load(directory)

    def save(self, directory: Path):
        """Writes the columns as one shard, and last the manifest with checksums."""
        columns = {"right": self.right, "logprob": self.logprob, "ids": self.ids, "probs": self.probs}
        shards.write(Path(directory) / "00000", {n: np.asarray(v) for n, v in columns.items() if v is not None})
        store.seal(Path(directory), {"header": self.header, "counts": [len(self.right)]})

    @classmethod
    def load(cls, directory: Path) -> "TeacherCache":
        """Reads a saved cache; the columns stay on disk (memory-mapped).

        Raises:
            CatKerasError: when a file is missing or differs from its checksum.
        """
        directory = Path(directory)
        if problem := store.damage(directory):
            raise CatKerasError(
                f"A teacher cache is whole. Received: {directory}, where {problem}. Build it again: whole shards are "
                "kept"
            )
        manifest = store.read_json(directory / "manifest.json")
        counts = manifest["counts"]
        return cls(manifest["header"], **shards.read([directory / f"{i:05}" for i in range(len(counts))], counts))

    def check(self, data: Encoded, loss: losses.CascadeLoss | None = None):
        """Binds the cache to its data, which has to happen before `batch`.

        Args:
            data: what the cache was built on.
            loss: the objective whose columns the cache has to deliver; None asks for `teacher_right` only.

        Raises:
            CatKerasError: the cache was built on other data or with another tokenizer, lacks a column, or has another
                temperature than the loss; or it is of version 0.1, and nothing tells which tokenizer it was built with.
        """
        if self.header["data"] != data.fingerprint:
            raise CatKerasError(
                f"A teacher cache is read with the data it was built on, data {self.header['data'][:12]}. "
                f"Received: data {data.fingerprint[:12]}. Build the cache on this data"
            )
        # Data that a run's cache names vouch for the columns beside them, whose key contains both models.
        if self.header["format"] < FORMAT and not data.named_by:
            raise CatKerasError(
                "A teacher cache names all of the tokenizer that it was built with. Received: one of version 0.1, "
                "which named the vocabulary alone, while merges and scores may differ. Build the cache again"
            )
        if self.header["format"] >= FORMAT and self.header["tokenizer"] != data.tokenizer:
            raise CatKerasError(
                f"A teacher cache and its data share one tokenizer. Received: tokenizer {data.tokenizer[:12]} of the "
                f"data, {self.header['tokenizer'][:12]} of the cache. Build the cache on this data"
            )
        self._starts = np.concatenate([[0], np.cumsum(data.n_target)])
        if loss is None:
            return
        k = getattr(loss, "k", 1)
        if "teacher_rank" in loss.columns and (self.header["distribution"] != "topk" or self.header["k"] < k):
            raise CatKerasError(
                f"A mask of the {k} most probable tokens reads as many of the large model. Received: a cache of "
                f"distribution={self.header['distribution']!r}, k={self.header['k']}. Build it with "
                f'distribution="topk", k={k} or more'
            )
        if "teacher_probs" in loss.columns and self.probs is None:
            raise CatKerasError(
                'This objective reads probabilities of the large model. Received: a cache of distribution="none". '
                'Build it with distribution="topk" or "sampled"'
            )
        temperature = getattr(loss, "temperature", 1.0)
        if "teacher_probs" in loss.columns and self.header["temperature"] != temperature:
            raise CatKerasError(
                "Loss and cache share one temperature. "
                f"Received: loss {temperature}, cache {self.header['temperature']}"
            )

    def batch(
        self, rows: np.ndarray, weights: np.ndarray, columns: list[str], labels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The columns of some examples as arrays of a batch, at the positions where `weights` is 1 and zero elsewhere.

        Args:
            rows: numbers of the examples, in the order of the batch.
            weights: (batch, length), 1 on target tokens.
            columns: names of the columns; "teacher_probs" also brings "teacher_ids".
            labels: (batch, length) int, for "teacher_rank": the place of the label among the stored ids, 0 for the most
                probable. A label that is not among the K of them has rank K.

        Returns:
            (batch, length) int32 or float32 by name, (batch, length, K) for teacher_probs and teacher_ids.
        """
        tokens = np.concatenate([np.arange(self._starts[r], self._starts[r + 1]) for r in rows])
        is_target = weights.astype(bool)

        def laid_out(values, dtype):
            array = np.zeros(is_target.shape + values.shape[1:], dtype)
            array[is_target] = values
            return array

        out = {}
        if "teacher_right" in columns:
            out["teacher_right"] = laid_out(self.right[tokens], np.int32)
        if "teacher_rank" in columns:
            is_label = np.asarray(self.ids[tokens]) == labels[is_target][:, None]
            rank = np.where(is_label.any(-1), is_label.argmax(-1), is_label.shape[1])
            out["teacher_rank"] = laid_out(rank, np.int32)
        if "teacher_logprob" in columns:
            out["teacher_logprob"] = laid_out(self.logprob[tokens], np.float32)
        if "teacher_probs" in columns:
            probs = np.asarray(self.probs[tokens], np.float32)
            if self.header["distribution"] == "sampled":  # counts / draws, exact again after 16-bit storage
                probs = np.round(probs * self.header["k"]) / self.header["k"]
            out["teacher_probs"] = laid_out(probs, np.float32)
            out["teacher_ids"] = laid_out(self.ids[tokens], np.int32)
        return out

    def example_right(self) -> np.ndarray:
        """(n,) bool, whether the model is right on all target tokens of an example; after `check`."""
        return np.logical_and.reduceat(np.asarray(self.right), self._starts[:-1])

    @property
    def bytes_per_token(self) -> dict[str, float]:
        """Stored bytes per target token, by column."""
        sizes = {"right": 1 / 8, "logprob": 2.0}
        if self.ids is not None:
            sizes |= {"ids": self.ids.dtype.itemsize * self.ids.shape[1], "probs": 2.0 * self.probs.shape[1]}
        return sizes


def _begun(model, data, distribution, k, temperature, seed, batch_size, progress, shard):
    """The writer of a cache, and the examples of each shard; arguments as for `TeacherCache.build`."""
    if distribution not in DISTRIBUTIONS:
        raise unknown_name("teacher distribution", distribution, DISTRIBUTIONS)
    check_number("k", k, ROWS, whole=True)
    check_number("temperature", temperature, TEMPERATURE)
    check_number("seed", seed, SEED, whole=True)
    check_number("batch_size", batch_size, ROWS, whole=True)
    check_number("shard", shard, COUNT, whole=True)
    _check_tokenizer(model, data)
    if len(data):
        longest = int(data.lengths.max())
        models.check_positions(
            model, longest, f"data whose longest example has {longest} inputs", "Encode with max_length={} or less"
        )
    header = {
        "format": FORMAT,
        "weights": models.weights_fingerprint(model),
        "tokenizer": data.tokenizer,
        "data": data.fingerprint,
        "distribution": distribution,
        "k": k,
        "temperature": temperature,
        "seed": seed,
        "shard": shard,
    }
    ranges = [np.arange(i, min(i + shard, len(data))) for i in range(0, len(data), shard)]
    return _ShardWriter(model, data, header, batch_size, progress), ranges


def _checked_part(part: tuple[int, int], directory: Path | None) -> tuple[int, int]:
    index, count = part
    check_number("parts", count, COUNT, whole=True)
    check_number("part", index, f"[0, {count})", whole=True)
    if directory is None:
        raise CatKerasError(f"A part of a cache is written to a directory. Received: part={part} without one. Give it")
    return part


def _check_tokenizer(model, data: Encoded):
    """Raises CatKerasError unless a model's tokenizer is known to have made the data."""
    tokenizer = models.tokenizer_of(model)
    if tokenizers.fingerprint(tokenizer) == data.tokenizer:
        return
    if tokenizers.vocabulary_fingerprint(tokenizer) == data.tokenizer:
        raise CatKerasError(
            f"The large model reads the small model's tokens. Received: {model.name}, and data of version 0.1, which "
            "named a tokenizer by its vocabulary alone, while merges and scores may differ. Encode the data again"
        )
    raise CatKerasError(
        f"The large model reads the small model's tokens. Received: {model.name}, whose tokenizer is not the one that "
        "encoded the data. Encode with its tokenizer, or take a model that shares it"
    )


class _ShardWriter:
    """Computes and writes the columns of a cache, one shard of consecutive examples at a time."""

    def __init__(self, model, data, header, batch_size, progress):
        self.data, self.header, self.batch_size, self.progress = data, header, batch_size, progress
        self.vocabulary = models.tokenizer_of(model).vocabulary_size()
        kind, k = header["distribution"], header["k"]
        self.k = min(k, self.vocabulary) if kind == "topk" else k  # there may be more draws than tokens
        self.forward = Forward(model, self.k if kind == "topk" else 0, kind == "sampled", header["temperature"])
        self.forward.compile(jit_compile=False)  # for a single pass, XLA would compile longer than it saves
        # An edge is rounded up, which no example needs.
        self.edges = np.minimum(bucket_lengths(data.lengths, 4), models.positions(model) or 1 << 30)
        self.n_done = 0

    def columns(self, number: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of a shard; its draws depend on the seed and on the number of the shard alone."""
        ends = np.cumsum(self.data.n_target[rows])
        total, rng = int(ends[-1]), np.random.default_rng([self.header["seed"], number])
        out = {"right": np.zeros(total, bool), "logprob": np.zeros(total, np.float16)}
        if self.header["distribution"] != "none":
            out["ids"] = np.zeros((total, self.k), np.min_scalar_type(self.vocabulary - 1))
            out["probs"] = np.zeros((total, self.k), np.float16)
        for batch_rows, answers in over(self.forward, self.data, rows, self.batch_size, self.edges):
            if "whole" in answers:
                answers["ids"], answers["probs"] = _draw(answers.pop("whole"), self.k, rng)
            # The batches come in the order of their lengths; the tokens of each example go to its place in the shard.
            batch_ends, counts = ends[batch_rows - rows[0]], self.data.n_target[batch_rows]
            tokens = np.concatenate([np.arange(end - n, end) for end, n in zip(batch_ends, counts, strict=True)])
            for name, values in answers.items():
                out[name][tokens] = values
            self._advance(len(batch_rows))
        return out

    def write_unless_whole(self, folder: Path, number: int, rows: np.ndarray, report):
        """Writes a shard, and last its manifest, unless a whole shard of this cache exists."""
        if (folder / "manifest.json").exists():
            problem = store.damage(folder)
            if problem is None and store.read_json(folder / "manifest.json").get("header") == self.header:
                self._advance(len(rows))
                return
            report(f"{folder}: {problem or 'it belongs to another cache'}; building it again")
        shutil.rmtree(folder, ignore_errors=True)
        shards.write(folder, self.columns(number, rows))
        store.seal(folder, {"header": self.header})

    def _advance(self, n_examples):
        self.n_done += n_examples
        if self.progress:
            self.progress(self.n_done, len(self.data))


def live_columns(model, inputs, labels, columns, temperature=1.0, k=1):
    """The same columns from a large model that runs in the training step; constant to the gradient.

    Args:
        model: the large `CausalLM`.
        inputs: token_ids and padding_mask, (batch, length) int32 each.
        labels: (batch, length) int.
        columns: names of the columns.
        temperature: of `teacher_probs`.
        k: a label among the k most probable tokens has `teacher_rank` 0, any other has k.

    Returns:
        the columns by name, (batch, length). `teacher_probs` is the whole distribution, (batch, length, vocabulary),
        so that there are no `teacher_ids`.
    """
    logits = ops.stop_gradient(ops.cast(model(inputs, training=False), "float32"))
    out = {}
    if "teacher_right" in columns:
        out["teacher_right"] = ops.cast(losses.is_right(logits, labels), "int32")
    if "teacher_rank" in columns:
        out["teacher_rank"] = k * (1 - ops.cast(losses.is_right(logits, labels, k), "int32"))
    if "teacher_logprob" in columns:
        out["teacher_logprob"] = losses.label_logprob(logits, labels)
    if "teacher_probs" in columns:
        out["teacher_probs"] = ops.softmax(logits / temperature, axis=-1)
    return out


def _draw(p, draws, rng):
    """Draws ids with replacement from every row of `p` (n, vocabulary).

    Returns:
        (ids, probs): (n, draws) each. The distinct ids of a row come first, with probability count / draws; the slots
        that are left over have probability 0.
    """
    cumulative = np.cumsum(p, -1)
    u = rng.random((len(p), draws)) * cumulative[:, -1:]
    samples = np.sort(np.stack([np.searchsorted(c, r, side="right") for c, r in zip(cumulative, u, strict=True)]), -1)
    samples = np.minimum(samples, p.shape[1] - 1)
    is_first = np.concatenate([np.ones((len(p), 1), bool), samples[:, 1:] != samples[:, :-1]], -1)
    slot = np.cumsum(is_first, -1) - 1  # equal samples are neighbours and share a slot
    row = np.arange(len(p))[:, None]
    ids, counts = np.zeros((len(p), draws), np.int64), np.zeros((len(p), draws), np.float32)
    ids[row, slot] = samples
    np.add.at(counts, (row, slot), 1.0)
    return ids, counts / draws
