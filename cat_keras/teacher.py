"""The large model as data: what a loss needs of it, computed once per target token and kept in columns.

`cat-xent` needs one bit per target token, `dist` and `cat-dist` a distribution, kept sparsely: the top k with an
explicit tail (the loss handles it), or unbiased samples with replacement (Random-Sampling KD, arXiv 2503.16870).
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from cat_keras import losses, models, store
from cat_keras.encoding import Encoded, bucket_lengths, windows
from cat_keras.errors import CatKerasError, unknown_name

FORMAT = 1  # of the files below
DISTRIBUTIONS = ("none", "topk", "sampled")


class ForwardColumns(keras.Model):
    """What the cache reads of one batch: bits and log-probabilities, and the logits when a distribution is wanted."""

    def __init__(self, model, with_logits):
        super().__init__()
        self.model, self.with_logits = model, with_logits

    def call(self, inputs):
        logits = self.model({"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]})
        logits = ops.cast(logits, "float32")
        out = {
            "right": losses.is_right(logits, inputs["labels"]),
            "logprob": losses.label_logprob(logits, inputs["labels"]),
        }
        return out | ({"logits": logits} if self.with_logits else {})


class TeacherCache:
    """Columns of a frozen large model over the target tokens of an `Encoded` data set, in order.

    Attributes:
        right: (target tokens,) bool, the arg-max of the large model is the label.
        logprob: (target tokens,) float16, its log-probability of the label, nats.
        ids: (target tokens, K) unsigned integers of the narrowest type, and
        probs: (target tokens, K) float16; absent with distribution="none".
        header: what the cache was built from: fingerprints of weights, tokenizer and data, and the arguments.
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
        }
        starts = np.concatenate([[0], np.cumsum(data.n_target)])
        total, sparse = int(starts[-1]), distribution != "none"
        vocabulary = models.tokenizer_of(model).vocabulary_size()
        k = min(k, vocabulary) if distribution == "topk" else k  # one may draw more often than there are tokens
        right, logprob = np.zeros(total, bool), np.zeros(total, np.float16)
        ids = np.zeros((total, k), np.min_scalar_type(vocabulary - 1)) if sparse else None
        probs = np.zeros((total, k), np.float16) if sparse else None
        edges = np.asarray(bucket_lengths(data.lengths, 4))
        forward, rng, done = ForwardColumns(model, sparse), np.random.default_rng(seed), 0
        forward.compile(jit_compile=False)  # one pass: XLA would compile longer than it saves
        for rows, arrays in windows(data, batch_size, edges):
            out = forward.predict_on_batch(arrays)
            live = arrays["weights"][: len(rows)].astype(bool)
            where = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in rows])
            right[where] = out["right"][: len(rows)][live]
            logprob[where] = out["logprob"][: len(rows)][live]
            if sparse:
                p = _softmax(out["logits"][: len(rows)][live] / temperature)
                ids[where], probs[where] = _top(p, k) if distribution == "topk" else _draw(p, k, rng)
            done += len(rows)
            if progress:
                progress(done, len(data))
        return cls(header, right, logprob, ids, probs)

    def save(self, directory: Path):
        """Writes columns and header; the manifest with checksums last."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "right.npy", np.packbits(self.right))
        np.save(directory / "logprob.npy", self.logprob)
        if self.ids is not None:
            np.save(directory / "ids.npy", self.ids)
            np.save(directory / "probs.npy", self.probs)
        store.seal(directory, {"header": self.header, "target_tokens": len(self.right)})

    @classmethod
    def load(cls, directory: Path) -> "TeacherCache":
        """Reads a saved cache; the columns stay on disk (memory-mapped).

        Raises:
            CatKerasError: when a file is missing or differs from its checksum.
        """
        directory = Path(directory)
        if wrong := store.damage(directory):
            raise CatKerasError(f"A teacher cache is whole. Received: {directory}, where {wrong}. Build it again")
        manifest = store.read_json(directory / "manifest.json")
        count = manifest["target_tokens"]
        sparse = (directory / "ids.npy").exists()
        return cls(
            manifest["header"],
            np.unpackbits(np.load(directory / "right.npy"), count=count).astype(bool),
            np.load(directory / "logprob.npy"),
            np.load(directory / "ids.npy", mmap_mode="r") if sparse else None,
            np.load(directory / "probs.npy", mmap_mode="r") if sparse else None,
        )

    def check(self, data: Encoded, loss: losses.CascadeLoss):
        """Binds the cache to its data. Raises CatKerasError when it was built for other data, or lacks a column."""
        if self.header["data"] != data.fingerprint:
            raise CatKerasError(
                f"A teacher cache is read with the data it was built on, data {self.header['data'][:12]}. "
                f"Received: data {data.fingerprint[:12]}. Build the cache on this data"
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
        self._starts = np.concatenate([[0], np.cumsum(data.n_target)])

    def batch(self, rows: np.ndarray, weights: np.ndarray, columns: list[str]) -> dict[str, np.ndarray]:
        """The columns of some examples, laid on the positions where `weights` (batch, length) is 1."""
        where = np.concatenate([np.arange(self._starts[r], self._starts[r + 1]) for r in rows])
        live = weights.astype(bool)
        out = {}
        if "teacher_right" in columns:
            out["teacher_right"] = _lay(self.right[where], live, np.int32)
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


def live_columns(model, inputs, labels, columns, temperature=1.0):
    """The same columns from a live large model, inside a training step; constant to the gradient.

    Returns the full distribution as `teacher_probs`, (batch, length, vocabulary), and no `teacher_ids`.
    """
    logits = ops.stop_gradient(ops.cast(model(inputs, training=False), "float32"))
    out = {}
    if "teacher_right" in columns:
        out["teacher_right"] = ops.cast(losses.is_right(logits, labels), "int32")
    if "teacher_logprob" in columns:
        out["teacher_logprob"] = losses.label_logprob(logits, labels)
    if "teacher_probs" in columns:
        out["teacher_probs"] = ops.softmax(logits / temperature, axis=-1)
    return out


def _lay(values, live, dtype):
    out = np.zeros(live.shape + values.shape[1:], dtype)
    out[live] = values
    return out


def _softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def _top(p, k):
    """The k most probable ids and their probabilities, in decreasing order."""
    ids = np.argpartition(-p, k - 1, axis=-1)[:, :k]
    found = np.take_along_axis(p, ids, -1)
    order = np.argsort(-found, axis=-1, kind="stable")
    return np.take_along_axis(ids, order, -1), np.take_along_axis(found, order, -1)


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
