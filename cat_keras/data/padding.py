"""Sequences of unequal length as arrays of fixed shapes: which padded lengths, and the arrays of one batch."""

from collections.abc import Iterator

import numpy as np

from cat_keras.data.encoding import Encoded


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
