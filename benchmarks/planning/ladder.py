"""Elastic methods: which sizes a small model is trained at, together or each alone; `[elastic]` of a profile."""

from dataclasses import asdict
from typing import NamedTuple

from benchmarks.planning.methods import ELASTIC
from cat_keras.errors import CatKerasError
from cat_keras.modeling.elastic import Size, sizes

WHOLE = "whole"  # the name of the size that is all of the small model


class Trained(NamedTuple):
    """What an elastic method of a profile means.

    Attributes:
        kind: of `ELASTIC`. size: the name of the size that answers. objective: of its training.
        shared: whether all sizes are trained as one model, or this one alone.
    """

    kind: str
    size: str
    objective: str
    shared: bool


def names(ladder: dict) -> dict[str, Trained]:
    """Method → what it means: every kind at every size, smallest first, as the profile orders them."""
    return {
        f"{kind}-{size}": Trained(kind, size, objective, shared)
        for kind, (objective, shared) in ELASTIC.items()
        for size in (*ladder, WHOLE)
    }


def check(ladder: dict[str, dict], small, reserved):
    """Raises CatKerasError where no elastic model has these sizes.

    Args:
        ladder: name → numbers of a size. small: the model of the profile. reserved: methods of other names.
    """
    if WHOLE in ladder or not ladder:
        raise CatKerasError(
            f"elastic.sizes names the sizes beside {WHOLE!r}, at least one. Received: {sorted(ladder)}. Give tables "
            "such as half = {layers = 1}"
        )
    made = [f"{kind}-{size}" for kind in ELASTIC for size in (*ladder, WHOLE)]
    if taken := [name for name in made if name in reserved or made.count(name) > 1]:
        raise CatKerasError(
            f"A method has a name of its own. Received: sizes {sorted(ladder)}, which make {taken[0]!r} of another "
            "method too. Name them otherwise"
        )
    if not small.preset:
        sizes.nested(ladder.values(), _whole(small), small.heads)


def passes(values: list[dict], small) -> list[dict]:
    """The shapes whose forward passes a step over all sizes of a model that is built here consists of."""
    return [asdict(size) for size in sizes.trunks(sizes.nested(values, _whole(small), small.heads))]


def _whole(small) -> Size:
    return Size(**{axis: getattr(small, axis) for axis in sizes.AXES})


def numbers(ladder: dict[str, dict], size: str, small) -> dict:
    """The shape of a size: all four numbers of a model that is built here, of a preset those that are given."""
    given = ladder.get(size, {})
    if small.preset:
        return given
    return {axis: given.get(axis) or getattr(small, axis) for axis in sizes.AXES}
