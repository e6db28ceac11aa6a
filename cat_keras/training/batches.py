"""Training batches as a pure function of (data, seed, step), with the columns that an objective reads."""

import keras
import numpy as np

from cat_keras.data.padding import bucket_lengths, pad
from cat_keras.errors import CatKerasError
from cat_keras.training import losses


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
