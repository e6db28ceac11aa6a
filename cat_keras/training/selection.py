"""Which sequences SALT_DS (arXiv 2410.18779) distils: those that the small model finds hard and yet can learn."""

import numpy as np

from cat_keras.data.encoding import Encoded
from cat_keras.errors import COUNT, CatKerasError, check_number
from cat_keras.training.teacher import TeacherCache

BLOCK = 1 << 18  # target tokens whose stored ids are in memory at a time


def learnable_medians(cache: TeacherCache, data: Encoded, top: int = 10) -> np.ndarray:
    """Per sequence, median of `−log p_S(y)` over its target tokens whose label is among the `top` most probable ones.

    The median, the restriction to these tokens and top = 10 are reported by reviews of the paper. It scores with an
    early checkpoint of the small model; which one `cache` is of is the caller's choice.

    Args:
        cache: of the small model over `data`, with distribution="topk" and k of at least `top`.
        data: from `encode`.
        top: how many of the most probable tokens count as learnable.

    Returns:
        (n,) float64, nats; NaN for a sequence without such a token.

    Raises:
        CatKerasError: the cache is of other data, or holds fewer than `top` of the most probable tokens.
    """
    check_number("top", top, COUNT, whole=True)
    cache.check(data)
    if cache.header["distribution"] != "topk" or cache.ids.shape[1] < top:
        raise CatKerasError(
            f"The median over tokens among the {top} most probable reads as many of the small model. Received: a cache "
            f"of distribution={cache.header['distribution']!r}, k={cache.header['k']}. Build it with "
            f'distribution="topk", k={top} or more'
        )
    n_target = data.n_target
    example = np.repeat(np.arange(len(data)), n_target)
    token = np.arange(len(example)) - np.repeat(np.cumsum(n_target) - n_target, n_target)  # its place in the target
    labels = data.tokens[data.offsets[example] + data.n_prompt[example] + token]
    learnable = np.concatenate(
        [
            (np.asarray(cache.ids[np.arange(i, min(i + BLOCK, len(labels)))])[:, :top]
             == labels[i : i + BLOCK, None]).any(-1)
            for i in range(0, len(labels), BLOCK)
        ]
    )  # fmt: skip
    losses = -np.asarray(cache.logprob[np.flatnonzero(learnable)], np.float64)
    example = example[learnable]
    ordered = losses[np.lexsort((losses, example))]  # sequence by sequence, each in ascending order
    counts = np.bincount(example, minlength=len(data))
    starts, some = np.cumsum(counts) - counts, counts > 0
    medians = np.full(len(data), np.nan)
    lower, upper = (starts + (counts - 1) // 2)[some], (starts + counts // 2)[some]
    medians[some] = (ordered[lower] + ordered[upper]) / 2
    return medians


def challenging(cache: TeacherCache, data: Encoded, kept: float = 0.5, top: int = 10) -> np.ndarray:
    """The sequences with the largest median loss of learnable tokens, for `Batches(first_rows=…)`.

    The share of them is our choice, and so is that a sequence without a learnable token comes last.

    Args:
        cache, data, top: see `learnable_medians`.
        kept: share of the sequences, in (0, 1]; at least one sequence is taken, and of equals those that come first.

    Returns:
        (round(kept · n),) int64, numbers of the examples, ascending.
    """
    check_number("kept, the share of the sequences,", kept, "(0, 1]")
    medians = learnable_medians(cache, data, top)
    count = max(round(kept * len(data)), 1)
    return np.sort(np.argsort(-np.nan_to_num(medians, nan=-1.0), kind="stable")[:count])
