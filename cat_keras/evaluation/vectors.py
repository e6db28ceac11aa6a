"""Checks of columns of numbers, which every metric of this library takes as vectors."""

import numpy as np

from cat_keras.errors import CatKerasError, shown

LARGEST = 1e100  # of numbers that are added up or multiplied, so that no result leaves the range of a float

ROUNDING = 1e-9
"""A relative difference that counts as none: two orders of summing a column differ by far less."""


def finite(name: str, values, n: int | None = None) -> np.ndarray:
    """`values` as a vector of finite numbers.

    Args:
        name: what the column is called in an error.
        values: (n,) numbers, anything that numpy makes a vector of.
        n: required length, if any.

    Returns:
        (n,) float64.

    Raises:
        CatKerasError: not a vector, no entry, another length than `n`, NaN or infinity.
    """
    try:
        if getattr(values, "dtype", None) is not None and np.iscomplexobj(values):
            raise TypeError("a complex number is none")
        column = np.asarray(values)
        if column.dtype.kind in "US":
            raise TypeError("a text is none")
        column = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CatKerasError(f"{name} must hold one number per example ({error}). Received: {shown(values)}") from None
    if column.ndim != 1 or not column.size:
        raise CatKerasError(f"{name} must be a vector with at least one example. Received shape: {column.shape}")
    if n is not None and len(column) != n:
        raise CatKerasError(
            f"Columns must have one entry per example, {n} like the first; {name} has {len(column)}. "
            "Take them from the same rows"
        )
    bad = np.flatnonzero(~np.isfinite(column))
    if bad.size:
        raise CatKerasError(
            f"{name} must be finite; received {column[bad[0]]} in row {bad[0]} ({bad.size} such of {len(column)}). "
            "Score or leave out those examples before, in every method alike"
        )
    return column


def summable(name: str, values, n: int | None = None) -> np.ndarray:
    """`finite`, and at most `LARGEST` in size: costs, qualities, losses."""
    column = finite(name, values, n)
    if np.abs(column).max() > LARGEST:
        raise CatKerasError(
            f"{name} must be at most {LARGEST:g} in size, or sums of it are infinite; received values in "
            f"[{column.min()}, {column.max()}]. Take a larger unit"
        )
    return column


def within_unit(name: str, values, n: int | None = None) -> np.ndarray:
    """`finite`, and all in [0, 1]: probabilities, losses, qualities."""
    column = finite(name, values, n)
    if column.min() < 0 or column.max() > 1:
        raise CatKerasError(
            f"{name} must be in [0, 1]; received values in [{column.min()}, {column.max()}]. "
            "Take the exponential of a log-probability"
        )
    return column


def true_or_false(name: str, values, n: int | None = None) -> np.ndarray:
    """`finite`, and all 0 or 1; (n,) bool."""
    column = finite(name, values, n)
    if not np.isin(column, (0, 1)).all():
        raise CatKerasError(
            f"{name} must be true or false (1 or 0) per example; received values in [{column.min()}, {column.max()}]. "
            "Compare graded quality to a bar first"
        )
    return column == 1
