"""The sizes of an elastic model: how many layers, heads, feed-forward units and channels of the whole each one has."""

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from cat_keras.errors import COUNT, CatKerasError, check_list, check_number, unknown_name

AXES = ("layers", "width", "heads", "feedforward")


@dataclass(frozen=True)
class Size:
    """A sub-model: the first layers, and in each the first heads, feed-forward units and channels.

    What is None is that of the whole model. The numbers are those of `models.build`.

    Args:
        layers: how many layers, the first ones.
        width: channels of the residual stream, of the embeddings and of the norms.
        heads: query heads of each layer. Grouped key-value heads go with their queries.
        feedforward: inner units of each feed-forward block.

    Raises:
        CatKerasError: a number that is not whole or below 1.
    """

    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    feedforward: int | None = None

    def __post_init__(self):
        for axis in AXES:
            if getattr(self, axis) is not None:
                check_number(f"{axis} of a size", getattr(self, axis), COUNT, whole=True)

    @property
    def numbers(self) -> tuple:
        return tuple(getattr(self, axis) for axis in AXES)

    def __str__(self):
        return ", ".join(f"{axis}={n}" for axis, n in asdict(self).items() if n is not None) or "the whole"


def of(value) -> Size:
    """A size from a `Size`, from a mapping of its arguments, or from None, which is the whole.

    Raises:
        CatKerasError: it is none of these, or has a key that no size has.
    """
    if value is None or isinstance(value, Size):
        return value or Size()
    if not isinstance(value, Mapping):
        raise CatKerasError(
            f"A size is a ck.elastic.Size or a table such as {{'layers': 2}}. Received: {type(value).__name__} "
            f"{value!r:.60}. Give one"
        )
    if unknown := [key for key in value if key not in AXES]:
        raise unknown_name("key of a size", str(unknown[0]), AXES)
    return Size(**value)


def nested(values: Iterable, whole: Size, key_value_heads: int, tied_head: int | None = None) -> tuple[Size, ...]:
    """The sizes in ascending order, every number filled in, the whole as the last one.

    Args:
        values: what `of` reads. whole: all numbers of the whole model.
        key_value_heads: of the whole model.
        tied_head: the size of a head in an architecture that derives it from width / heads; None where it is free.

    Raises:
        CatKerasError: there is no size, one is larger than the whole, or has heads that no grouping allows, or of two
            sizes neither is within the other.
    """
    sizes = [filled(of(value), whole) for value in check_list("sizes", values)]
    if not sizes:
        raise CatKerasError("An elastic model has at least one size beside the whole. Received: none. Name one")
    for size in sizes:
        _check_within(size, whole)
        _check_heads(size, whole, key_value_heads, tied_head)
    ordered = sorted({*sizes, whole}, key=lambda size: size.numbers)
    ordered.sort(key=functools.cmp_to_key(_compare))
    for smaller, larger in itertools.pairwise(ordered):
        if not within(smaller, larger):
            raise CatKerasError(
                "The sizes of an elastic model are nested: of two, one has no more layers, width, heads and "
                f"feed-forward units than the other. Received: ({smaller}) and ({larger}). Leave one of them out"
            )
    return tuple(ordered)


def within(smaller: Size, larger: Size) -> bool:
    """Whether a size is a part of another; both with all numbers."""
    return all(a <= b for a, b in zip(smaller.numbers, larger.numbers, strict=True))


def trunks(ordered: Iterable[Size]) -> list[Size]:
    """Of ascending sizes those that no other one contains with more layers and all else equal, the whole first.

    One pass through each of them computes all sizes that have fewer of its layers.
    """
    deepest = {}
    for size in reversed(tuple(ordered)):
        deepest.setdefault((size.width, size.heads, size.feedforward), size)
    return list(deepest.values())


def _compare(one: Size, other: Size) -> int:
    return within(other, one) - within(one, other)


def filled(size: Size, whole: Size) -> Size:
    return Size(**{axis: getattr(size, axis) or getattr(whole, axis) for axis in AXES})


def _check_within(size: Size, whole: Size):
    for axis in AXES:
        if getattr(size, axis) > getattr(whole, axis):
            raise CatKerasError(
                f"A size is a part of the whole model, which has {axis}={getattr(whole, axis)}. Received: "
                f"{axis}={getattr(size, axis)}. Give that or less"
            )


def _check_heads(size: Size, whole: Size, key_value_heads: int, tied_head: int | None):
    """Raises CatKerasError unless the first query heads of a size read the first key-value heads as in the whole."""
    group = whole.heads // key_value_heads
    if key_value_heads > 1 and size.heads % group:
        raise CatKerasError(
            f"A size has whole groups of heads, {group} queries to a key-value head. Received: heads={size.heads} of a "
            f"model with {whole.heads} heads and {key_value_heads} key-value heads. Take a multiple of {group}"
        )
    if tied_head and size.width != size.heads * tied_head:
        raise CatKerasError(
            f"In this architecture of KerasHub a head is width / heads, {tied_head}, so that both shrink together. "
            f"Received: width={size.width}, heads={size.heads}. Give width={size.heads * tied_head}"
        )
