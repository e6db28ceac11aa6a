"""The large model as data: what a loss needs of it, computed once per target token and kept in columns.

`cat-xent` needs one bit per target token, `dist` and `cat-dist` a distribution, kept sparsely: the top k with an
explicit tail (the loss handles it), or unbiased samples with replacement (Random-Sampling KD, arXiv 2503.16870).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from keras import ops

from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import bucket_lengths
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.modeling import models
from cat_keras.storage import shards, store
from cat_keras.training import losses
from cat_keras.training.forward import Forward, over

FORMAT = 2  # of the files below
DISTRIBUTIONS = ("none", "topk", "sampled")


class TeacherCache:
    """Columns of a frozen large model over the target tokens of an `Encoded` data set, in order.

    Attributes:
        right: (target tokens,) bool, the arg-max of the large model is the label.
        logprob: (target tokens,) float16, its log-probability of the label, nats.
        ids: (target tokens, K) unsigned integers of the narrowest type, and
        probs: (target tokens, K) float16; None with distribution="none".
        header: what the cache was built from: fingerprints of weights, tokenizer and data, and the arguments.

    The columns are arrays, or `shards.Column` over files: indexed alike.
    """

    def __init__(self, header, right, logprob, ids=None, probs=None):
        self.header, self.right, self.logprob, self.ids, self.probs = header, right, logprob, ids, probs
        self._starts = None

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
        shard: int = 16_384,
        report: Callable[[str], None] = print,
    ) -> "TeacherCache":
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
            directory: where shards are written as they are done, and found whole by the next call: memory then does
                not grow with the data, and a kill loses one shard. None keeps all columns in memory.
            shard: examples per shard.
            report: called with one line when a damaged shard is found and built again.

        Raises:
            CatKerasError: unknown distribution, or data encoded by another tokenizer.
        """
        if distribution not in DISTRIBUTIONS:
            raise unknown_name("teacher distribution", distribution, DISTRIBUTIONS)
        if models.tokenizer_fingerprint(models.tokenizer_of(model)) != data.tokenizer:
            raise CatKerasError(
                f"The large model reads the small model's tokens. Received: {model.name}, whose tokenizer is not the "
                "one that encoded the data. Encode with its tokenizer, or take a model that shares it"
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
        scribe = _Scribe(model, data, header, batch_size, progress)
        ranges = [np.arange(i, min(i + shard, len(data))) for i in range(0, len(data), shard)]
        if directory is None:
            parts = [scribe.columns(number, rows) for number, rows in enumerate(ranges)]
            return cls(header, **{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
        for number, rows in enumerate(ranges):
            scribe.bring_up_to_date(Path(directory) / f"{number:05}", number, rows, report)
        store.seal(Path(directory), {"header": header, "counts": [int(data.n_target[r].sum()) for r in ranges]})
        return cls.load(directory)

    def save(self, directory: Path):
        """Writes columns in memory as one shard, the manifest with checksums last."""
        present = {"right": self.right, "logprob": self.logprob, "ids": self.ids, "probs": self.probs}
        shards.write(Path(directory) / "00000", {n: np.asarray(v) for n, v in present.items() if v is not None})
        store.seal(Path(directory), {"header": self.header, "counts": [len(self.right)]})

    @classmethod
    def load(cls, directory: Path) -> "TeacherCache":
        """Reads a saved cache; the columns stay on disk (memory-mapped).

        Raises:
            CatKerasError: when a file is missing or differs from its checksum.
        """
        directory = Path(directory)
        if wrong := store.damage(directory):
            raise CatKerasError(
                f"A teacher cache is whole. Received: {directory}, where {wrong}. Build it again: whole shards are kept"
            )
        manifest = store.read_json(directory / "manifest.json")
        counts = manifest["counts"]
        return cls(manifest["header"], **shards.read([directory / f"{i:05}" for i in range(len(counts))], counts))

    def check(self, data: Encoded, loss: losses.CascadeLoss | None = None):
        """Binds the cache to its data. Raises CatKerasError when it was built for other data, or lacks a column.

        `loss`: whose columns it shall deliver; None asks for nothing but `teacher_right`.
        """
        if self.header["data"] != data.fingerprint:
            raise CatKerasError(
                f"A teacher cache is read with the data it was built on, data {self.header['data'][:12]}. "
                f"Received: data {data.fingerprint[:12]}. Build the cache on this data"
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
        wanted = getattr(loss, "temperature", 1.0)
        if "teacher_probs" in loss.columns and self.header["temperature"] != wanted:
            raise CatKerasError(
                f"Loss and cache share one temperature. Received: loss {wanted}, cache {self.header['temperature']}"
            )

    def batch(
        self, rows: np.ndarray, weights: np.ndarray, columns: list[str], labels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The columns of some examples, laid on the positions where `weights` (batch, length) is 1.

        `labels` (batch, length): what `teacher_rank` ranks, 0 for the most probable token; those beyond the k that are
        kept all have rank k.
        """
        where = np.concatenate([np.arange(self._starts[r], self._starts[r + 1]) for r in rows])
        live = weights.astype(bool)
        out = {}
        if "teacher_right" in columns:
            out["teacher_right"] = _lay(self.right[where], live, np.int32)
        if "teacher_rank" in columns:
            same = np.asarray(self.ids[where]) == labels[live][:, None]
            rank = np.where(same.any(-1), same.argmax(-1), same.shape[1])
            out["teacher_rank"] = _lay(rank, live, np.int32)
        if "teacher_logprob" in columns:
            out["teacher_logprob"] = _lay(self.logprob[where], live, np.float32)
        if "teacher_probs" in columns:
            probs = np.asarray(self.probs[where], np.float32)
            if self.header["distribution"] == "sampled":  # counts / draws, exact again after 16-bit storage
                probs = np.round(probs * self.header["k"]) / self.header["k"]
            out["teacher_probs"] = _lay(probs, live, np.float32)
            out["teacher_ids"] = _lay(self.ids[where], live, np.int32)
        return out

    @property
    def bytes_per_token(self) -> dict[str, float]:
        """Stored bytes per target token, by column."""
        sizes = {"right": 1 / 8, "logprob": 2.0}
        if self.ids is not None:
            sizes |= {"ids": self.ids.dtype.itemsize * self.ids.shape[1], "probs": 2.0 * self.probs.shape[1]}
        return sizes


class _Scribe:
    """Writes down what a large model says of the target tokens of some examples, one shard at a time."""

    def __init__(self, model, data, header, batch_size, progress):
        self.data, self.header, self.batch_size, self.progress = data, header, batch_size, progress
        self.vocabulary = models.tokenizer_of(model).vocabulary_size()
        kind, k = header["distribution"], header["k"]
        self.k = min(k, self.vocabulary) if kind == "topk" else k  # one may draw more often than there are tokens
        self.forward = Forward(model, self.k if kind == "topk" else 0, kind == "sampled", header["temperature"])
        self.forward.compile(jit_compile=False)  # one pass: XLA would compile longer than it saves
        self.edges = np.asarray(bucket_lengths(data.lengths, 4))
        self.done = 0

    def columns(self, number: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of consecutive examples; draws depend on the seed and the number of the shard alone."""
        ends = np.cumsum(self.data.n_target[rows])
        total, rng = int(ends[-1]), np.random.default_rng([self.header["seed"], number])
        out = {"right": np.zeros(total, bool), "logprob": np.zeros(total, np.float16)}
        if self.header["distribution"] != "none":
            out["ids"] = np.zeros((total, self.k), np.min_scalar_type(self.vocabulary - 1))
            out["probs"] = np.zeros((total, self.k), np.float16)
        for chosen, answers in over(self.forward, self.data, rows, self.batch_size, self.edges):
            if "whole" in answers:
                answers["ids"], answers["probs"] = _draw(answers.pop("whole"), self.k, rng)
            last = ends[chosen - rows[0]]
            where = np.concatenate([np.arange(e - n, e) for e, n in zip(last, self.data.n_target[chosen], strict=True)])
            for name, values in answers.items():
                out[name][where] = values
            self._advance(len(chosen))
        return out

    def bring_up_to_date(self, folder: Path, number: int, rows: np.ndarray, report):
        """Writes a shard unless it is there whole; its own manifest comes last."""
        if (folder / "manifest.json").exists():
            wrong = store.damage(folder)
            if wrong is None and store.read_json(folder / "manifest.json").get("header") == self.header:
                self._advance(len(rows))
                return
            report(f"{folder}: {wrong or 'it belongs to another cache'}; building it again")
        shutil.rmtree(folder, ignore_errors=True)
        shards.write(folder, self.columns(number, rows))
        store.seal(folder, {"header": self.header})

    def _advance(self, n):
        self.done += n
        if self.progress:
            self.progress(self.done, len(self.data))


def live_columns(model, inputs, labels, columns, temperature=1.0, k=1):
    """The same columns from a live large model, inside a training step; constant to the gradient.

    `teacher_rank` is 0 within the k most probable tokens, else k.

    Returns the full distribution as `teacher_probs`, (batch, length, vocabulary), and no `teacher_ids`.
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


def _lay(values, live, dtype):
    out = np.zeros(live.shape + values.shape[1:], dtype)
    out[live] = values
    return out


def _draw(p, draws, rng):
    """`draws` ids with replacement per row, as distinct ids with count / draws; unused slots hold probability 0."""
    cumulative = np.cumsum(p, -1)
    u = rng.random((len(p), draws)) * cumulative[:, -1:]
    drawn = np.sort(np.stack([np.searchsorted(c, r, side="right") for c, r in zip(cumulative, u, strict=True)]), -1)
    drawn = np.minimum(drawn, p.shape[1] - 1)
    first = np.concatenate([np.ones((len(p), 1), bool), drawn[:, 1:] != drawn[:, :-1]], -1)
    slot = np.cumsum(first, -1) - 1
    row = np.arange(len(p))[:, None]
    ids, counts = np.zeros((len(p), draws), np.int64), np.zeros((len(p), draws), np.float32)
    ids[row, slot] = drawn
    np.add.at(counts, (row, slot), 1.0)
    return ids, counts / draws
