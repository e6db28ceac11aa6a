"""What a router learns: how likely the small model does as well as the large one, up to a margin."""

import numpy as np

from cat_keras.errors import CatKerasError, check_number

MARGINS = 101  # at most so many margins are tried


def soft_labels(quality_small, quality_large, margin: float = 0.0) -> np.ndarray:
    """P(q_S ≥ q_L − margin) of every query, over all pairs of a small and a large answer to it.

    Hybrid LLM (arXiv 2404.14618), sections 3.2 and 3.3. Of single answers it is 0 or 1.

    Args:
        quality_small, quality_large: (n,), or (n, samples) of several sampled answers, whose numbers may differ.
        margin: in the unit of the quality, ≥ 0: how much worse the small model may be.

    Returns:
        (n,) float64 in [0, 1].

    Raises:
        CatKerasError: qualities that are not finite or not of the same queries, or a negative margin.
    """
    check_number("margin", margin, "[0, inf)")
    small, large = _sampled(quality_small, quality_large)
    return (small[:, :, None] >= large[:, None, :] - margin).mean(axis=(1, 2))


def best_margin(quality_small, quality_large) -> float:
    """The margin whose labels are spread most: the largest mean |yᵢ − yⱼ| over pairs of queries (equation 3).

    Of single answers that is the largest 2p(1 − p), with p the mean label. It is 0 where qualities are 0 and 1, and
    makes labels of graded qualities useful, where the small model is hardly ever exactly as good. Of equally good
    margins, the smallest.

    Args:
        quality_small, quality_large: as `soft_labels` takes them.
    """
    small, large = _sampled(quality_small, quality_large)
    gaps = np.unique((large[:, None, :] - small[:, :, None]).ravel())
    margins = np.unique(np.append(gaps[gaps > 0], 0.0))
    if len(margins) > MARGINS:
        margins = np.unique(np.quantile(margins, np.linspace(0, 1, MARGINS), method="nearest"))
    if small.shape[1] == large.shape[1] == 1:  # quick, as a report asks for thousands
        p = np.searchsorted(np.sort((large - small)[:, 0]), margins, side="right") / len(small)
        spreads = 2 * p * (1 - p)
    else:
        spreads = np.array([_spread(soft_labels(small, large, margin)) for margin in margins])
    return float(margins[np.argmax(spreads > spreads.max() - 1e-12)])


def _spread(labels: np.ndarray) -> float:
    """Mean |yᵢ − yⱼ| over all pairs, from the sorted labels."""
    n = len(labels)
    return float(2 * np.sum((2 * np.arange(1, n + 1) - n - 1) * np.sort(labels)) / n**2)


def _sampled(quality_small, quality_large) -> tuple[np.ndarray, np.ndarray]:
    """Both as (n, samples) float64."""
    try:
        both = [np.asarray(each, dtype=np.float64) for each in (quality_small, quality_large)]
    except (TypeError, ValueError) as error:
        raise CatKerasError(f"Qualities are numbers ({error}). Received: others") from None
    small, large = (each[:, None] if each.ndim == 1 else each for each in both)
    if small.ndim != 2 or large.ndim != 2 or len(small) != len(large) or not small.size or not large.size:
        raise CatKerasError(
            "Qualities are (n,) or (n, samples) of the same queries. Received: shapes "
            f"{both[0].shape} and {both[1].shape}"
        )
    if not (np.isfinite(small).all() and np.isfinite(large).all()):
        raise CatKerasError("Qualities are finite. Received: NaN or infinity. Leave out those queries")
    return small, large
