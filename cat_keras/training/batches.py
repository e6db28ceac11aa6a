"""Training batches: the arrays of every step, with the columns of the large model that an objective reads.

The batch of a step is a function of the data, the seed, the batch size and the step alone. So a training can resume at
any step, and several workers can read the same batches without telling each other.
"""

import hashlib

import keras
import numpy as np

from cat_keras.data.padding import bucket_lengths, bucket_of, pad
from cat_keras.errors import COUNT, ROWS, SEED, CatKerasError, check_number
from cat_keras.training import losses


class Batches(keras.utils.PyDataset):
    """Training batches for `train`, which asks for `batch(step)`, and for `fit`, which asks for an index in an epoch.

    Examples of similar length are in one bucket and padded to one length. Each epoch shuffles the examples within
    their buckets, and then the batches. The last batch of a bucket is filled up with rows of weight 0, so that every
    batch of a bucket has the same shape.

    Args:
        data: from `encode`.
        batch_size: examples per global batch; None with `batch_tokens`.
        seed: of the order.
        batch_tokens: computed tokens per global batch, padding included, instead of `batch_size`: short examples then
            make larger batches, of about equal cost.
        loss: the objective (or its name), which names the teacher columns it reads.
        teacher: a `TeacherCache` over the same data, for an objective that reads columns of the large model.
        start: a `TeacherCache` over the same data of the checkpoint that training starts from, for mask="start" and
            `DeferToken`.
        scope: "target" (loss on target tokens) or "all" (plain next-token loss, for pretraining).
        buckets: how many padded lengths.
        first_rows: numbers of the examples that the first `loss.steps` steps read, of an objective in two parts such as
            `losses.Salt`; None for all. The steps after them read what they would read without it.

    Raises:
        CatKerasError: there are no examples; not exactly one of the two batch sizes is given; a cache was built for
            other data, or lacks a column; or `first_rows` has no part to be of, or names no examples of the data.
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
        first_rows=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not len(data):
            raise CatKerasError("Training data holds at least one example. Received: none")
        if (batch_size is None) == (batch_tokens is None):
            raise CatKerasError(
                "A batch has either batch_size examples or batch_tokens tokens. "
                f"Received: batch_size={batch_size}, batch_tokens={batch_tokens}"
            )
        if batch_size is not None:
            check_number("batch_size", batch_size, ROWS, whole=True)
        else:
            check_number("batch_tokens", batch_tokens, "[1, 67108864]", whole=True)
        check_number("seed", seed, SEED, whole=True)
        check_number("buckets", buckets, COUNT, whole=True)
        self.data, self.seed, self.scope = data, seed, scope
        self.batch_size, self.batch_tokens = batch_size, batch_tokens

        # Of the columns that the objective reads, this class makes `uniform`, `distilled` and `defer`, `start` delivers
        # `start_right`, and `teacher` all others.
        loss = losses.get(loss) if loss is not None else None
        columns = loss.columns if loss is not None else ()
        self._draws_uniform = "uniform" in columns
        self._first_steps = loss.steps if "distilled" in columns else None
        self._teacher_columns = [c for c in columns if c not in ("uniform", "distilled", "defer", "start_right")]
        self._helps = loss.helps if "defer" in columns else ""
        self.teacher = teacher if self._teacher_columns or self._helps else None
        self.start = start if "start_right" in columns or self._helps == "gain" else None
        if self.teacher is not None:
            self.teacher.check(data, loss)
        if self.start is not None:
            self.start.check(data)
        self._defers = self._deferred() if self._helps else None

        # For each bucket: its padded length, the rows of a batch, and the batches of an epoch.
        self.edges = bucket_lengths(data.lengths, buckets)
        self._bucket_of = bucket_of(data.lengths, self.edges)
        self._batch_rows = [batch_size or max(batch_tokens // edge, 1) for edge in self.edges]
        counts = np.bincount(self._bucket_of, minlength=len(self.edges))
        self._batch_counts = [-(-n // size) for n, size in zip(counts, self._batch_rows, strict=True)]
        self.steps_per_epoch = int(sum(self._batch_counts))

        self._capacities = {}  # (padded length, rows) → `capacity`
        self._plan = (-1, False), []  # the epoch that was planned last, whether of `first_rows`, and its plan
        self._epoch = -1  # the epoch that `fit` is in
        self._swap = (-1, {})  # the epoch for which `fit` reads two batches in each other's place, and which two
        self.first_rows = None if first_rows is None else self._checked_first_rows(first_rows)
        self._first_steps_per_epoch = self.steps_per_epoch if first_rows is None else len(self._epoch_plan(0, True))

    def _deferred(self) -> np.ndarray:
        """(n,) bool, whether asking for help is right in an example, see `losses.DeferToken`."""
        needed = {"teacher": self.teacher} | ({"start": self.start} if self._helps == "gain" else {})
        if missing := [name for name, cache in needed.items() if cache is None]:
            raise CatKerasError(
                f"DeferToken with helps={self._helps!r} reads on which examples models are right. Received: no "
                f"{' and no '.join(missing)}. Give Batches a teacher=TeacherCache of the large model, and of the "
                "checkpoint that training starts from as start="
            )
        helped = self.teacher.example_right()
        return helped & ~self.start.example_right() if self._helps == "gain" else helped

    def _checked_first_rows(self, rows) -> np.ndarray:
        """(n,) bool, whether an example is one of those that the first steps read."""
        if self._first_steps is None:
            raise CatKerasError(
                "first_rows are read in the first steps of an objective in two parts. Received: first_rows without "
                'such a loss. Give loss=losses.get("salt", steps=…), or leave first_rows out'
            )
        rows = np.asarray(rows)
        if (
            rows.ndim != 1
            or not len(rows)
            or rows.dtype.kind not in "iu"
            or not 0 <= rows.min() <= rows.max() < len(self.data)
        ):
            raise CatKerasError(
                f"first_rows are numbers of examples, from 0 to {len(self.data) - 1}, at least one. "
                f"Received: {rows!r:.200}"
            )
        return np.bincount(rows, minlength=len(self.data)) > 0

    def _epoch_plan(self, epoch, first=False):
        """[(numbers of the examples, padded length)] of every batch of an epoch; the plan of the last one is kept.

        Args:
            first: whether it is an epoch over `first_rows` alone.
        """
        if self._plan[0] != (epoch, first):
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(np.arange(len(self.data), dtype=np.int32))
            order = order[self.first_rows[order]] if first else order
            plan, buckets = [], self._bucket_of[order]
            for bucket, (length, size) in enumerate(zip(self.edges, self._batch_rows, strict=True)):
                members = order[buckets == bucket]
                plan += [(members[i : i + size], length) for i in range(0, len(members), size)]
            self._plan = (epoch, first), [plan[i] for i in rng.permutation(len(plan))]
        return self._plan[1]

    def _rows(self, step):
        """(numbers of the examples, padded length) of a global step."""
        check_number("step", step, SEED, whole=True)
        first = self.first_rows is not None and step < self._first_steps
        epoch, position = divmod(step, self._first_steps_per_epoch if first else self.steps_per_epoch)
        return self._epoch_plan(epoch, first)[position]

    def batch(self, step: int):
        """(x, y, sample_weight) of a global step, as `train_on_batch` takes them.

        x holds token_ids, padding_mask (int32; tf.distribute cannot sum booleans) and the teacher columns.
        """
        rows, length = self._rows(step)
        arrays = pad(self.data, rows, length, self._batch_rows[self.edges.index(length)], self.scope)
        labels, weights = arrays.pop("labels"), arrays.pop("weights")
        if self.teacher is not None:
            arrays |= self.teacher.batch(rows, weights, self._teacher_columns, labels)
        if self.start is not None and self._defers is None:
            arrays["start_right"] = self.start.batch(rows, weights, ["teacher_right"])["teacher_right"]
        if self._defers is not None:
            arrays["defer"] = np.zeros(labels.shape, np.int32)
            first = np.argmax(weights[: len(rows)] > 0, axis=1)  # rows that only fill the batch up come after these
            arrays["defer"][np.arange(len(rows)), first] = self._defers[rows]
        if self._first_steps is not None:
            arrays["distilled"] = np.full(labels.shape, step < self._first_steps, np.int32)
        if self._draws_uniform:
            rng = np.random.default_rng([self.seed, step, 1])
            arrays["uniform"] = rng.random(labels.shape, dtype=np.float32)
        return arrays, labels, weights

    def capacity(self, length: int, rows: int) -> int:
        """How many target tokens to make room for in `rows` examples of a padded length.

        It is one number per length, so that one compiled step serves all batches of that length: the mean of their sum
        and five standard deviations. A batch that holds more is rare and no error, see `Step`.
        """
        if (length, rows) not in self._capacities:
            self._capacities[length, rows] = self._capacity(length, rows)
        return self._capacities[length, rows]

    def _capacity(self, length, rows) -> int:
        if self.scope == "all":
            return rows * length
        is_member = self._bucket_of == self.edges.index(length)
        counts = self.data.n_target[is_member]
        bound = rows * counts.mean() + 5 * np.sqrt(rows) * counts.std()
        if self.first_rows is not None and (first := self.data.n_target[is_member & self.first_rows]).size:
            bound = max(bound, rows * first.mean() + 5 * np.sqrt(rows) * first.std())
        return int(min(-(-bound // 64) * 64, rows * counts.max(), rows * length))

    @property
    def identity(self) -> list:
        """Everything that decides the content of the batches, as JSON values."""
        headers = [cache.header if cache is not None else None for cache in (self.teacher, self.start)]
        return [
            self.data.fingerprint,
            self._batch_rows,
            self.seed,
            self.scope,
            list(self.edges),
            *headers,
            self._teacher_columns,
            *([hashlib.sha256(self.first_rows.tobytes()).hexdigest()] if self.first_rows is not None else []),
            *([self._helps] if self._helps else []),
        ]

    @property
    def padding_share(self) -> float:
        """Share of computed positions that are padding, over one epoch."""
        n_computed = np.dot(np.multiply(self._batch_counts, self._batch_rows), self.edges)
        return float(1 - self.data.lengths.sum() / n_computed)

    def __len__(self):
        return self.steps_per_epoch

    def __getitem__(self, index):
        """A batch of the current epoch, for `fit`.

        Keras derives the shapes of all batches from the first two, and rejects a batch that does not fit them. Two
        batches of unequal length show Keras that the length varies. So the second batch of an epoch changes places
        with the first one whose length differs from that of batch 0.
        """
        epoch = max(self._epoch, 0)  # Keras reads the shapes before the first epoch begins
        if self._swap[0] != epoch:
            first_step = epoch * self.steps_per_epoch
            lengths = [self._rows(first_step + i)[1] for i in range(self.steps_per_epoch)]
            other = next((i for i, length in enumerate(lengths) if length != lengths[0]), 1)
            self._swap = epoch, {1: other, other: 1}
        return self.batch(epoch * self.steps_per_epoch + self._swap[1].get(index, index))

    def on_epoch_begin(self):
        self._epoch += 1
