"""Sequences of unequal length as arrays of fixed shapes.

Under XLA every shape is a compilation of its own, so sequences are padded to a few lengths: `bucket_lengths` chooses
these, `pad` makes the arrays of one batch, and `windows` goes once through a data set. `training.batches` shuffles it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from cat_keras.data.encoding import Encoded

PIECE = 2**18  # numbers that are computed with at once


def bucket_lengths(lengths: np.ndarray, count: int, multiple: int = 8) -> tuple[int, ...]:
    """At most `count` padded lengths, multiples of `multiple`, with the least padding in total over `lengths`.

    Dynamic programming over the distinct rounded lengths finds the best set.

    Args:
        lengths: (n,) integers, tokens of each sequence.
        count: most padded lengths to return.
        multiple: every padded length is a multiple of it.

    Returns:
        the padded lengths, ascending; the last one fits the longest sequence.
    """
    lengths = np.asarray(lengths)
    tally = np.zeros(lengths.max(initial=0) // multiple + 2, np.int64)  # of sequences, by the multiples that they take
    for piece in _pieces(lengths):
        tally += np.bincount(-(-piece // multiple), minlength=len(tally))
    taken = np.flatnonzero(tally)
    edges, sizes = taken * multiple, tally[taken]
    total = np.concatenate([[0], np.cumsum(sizes)])
    # best[j]: (padded tokens, chosen edges) of the best way to cover the sequences of the j shortest edges.
    best = [(0, ())] + [(total[j] * int(edges[j - 1]), (int(edges[j - 1]),)) for j in range(1, len(edges) + 1)]
    for _ in range(min(count, len(edges)) - 1):  # each round allows one edge more
        best = [best[0]] + [
            min(
                (best[i][0] + (total[j] - total[i]) * int(edges[j - 1]), best[i][1] + (int(edges[j - 1]),))
                for i in range(j)
            )
            for j in range(1, len(edges) + 1)
        ]
    return best[-1][1]


def bucket_of(lengths: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """(n,) unsigned integers, the number of the shortest padded length that fits each sequence; `len(edges)` if none.

    Args:
        lengths: (n,) integers, tokens of each sequence.
        edges: padded lengths, ascending, from `bucket_lengths`.
    """
    found = np.empty(len(lengths), np.min_scalar_type(len(edges)))
    for piece, into in zip(_pieces(lengths), _pieces(found), strict=True):
        into[:] = np.searchsorted(edges, piece)
    return found


def _pieces(array: np.ndarray) -> list[np.ndarray]:
    """Views of an array, so that what is computed of each is never in memory for all of many millions."""
    return [array[i : i + PIECE] for i in range(0, len(array), PIECE)]


def pad(data: Encoded, rows: np.ndarray, length: int, batch_size: int, scope: str = "target") -> dict[str, np.ndarray]:
    """The arrays of one batch, (batch_size, length) int32 each.

    Args:
        data: from `encode`.
        rows: at most `batch_size` numbers of examples; the rows of the batch beyond them are all padding.
        length: padded length, at least the number of model inputs of each of the examples.
        batch_size: rows of the arrays.
        scope: "target" gives weight 1 to the target tokens, "all" to every token that is predicted.

    Returns:
        token_ids, padding_mask, labels (the next token at each position) and weights (1 where the loss counts).
    """
    token_ids, labels, mask, weights = (np.zeros((batch_size, length), np.int32) for _ in range(4))
    for i, row in enumerate(rows):
        sequence = data.sequence(row)
        n = len(sequence) - 1
        token_ids[i, :n], labels[i, :n], mask[i, :n] = sequence[:-1], sequence[1:], 1
        first = data.n_prompt[row] - 1 if scope == "target" else 0
        weights[i, max(first, 0) : n] = 1
    # A row of padding alone would attend to nothing, and a softmax over an empty set is NaN in some backends.
    mask[len(rows) :, 0] = 1
    return {"token_ids": token_ids, "padding_mask": mask, "labels": labels, "weights": weights}


def windows(
    data: Encoded, batch_size: int, edges: np.ndarray, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Goes once through the examples in the order of their lengths, in batches, for scoring.

    Args:
        data: from `encode`.
        batch_size: examples per batch.
        edges: padded lengths, ascending, from `bucket_lengths`; longer examples are left out.
        rows: (n,) int, which examples; None for all.

    Yields:
        (numbers of the examples in the batch, the arrays of `pad`).
    """
    rows = np.arange(len(data)) if rows is None else rows
    order = rows[np.argsort(data.lengths[rows], kind="stable")]
    bucket = np.searchsorted(edges, data.lengths[order])
    for b, length in enumerate(edges):
        members = order[bucket == b]
        for i in range(0, len(members), batch_size):
            batch_rows = members[i : i + batch_size]
            yield batch_rows, pad(data, batch_rows, int(length), batch_size)
