"""Split recipes: which rows of which part make a split."""

import re
from collections.abc import Mapping

from cat_keras.errors import CatKerasError

# Which split keeps a row that two recipes claim, first to last. Recipes are written for the full data sets: on a small
# copy train[:30000] and train[-200:] overlap, and a row that is tested on must never be trained on.
PRECEDENCE = ("test", "validation", "train")
_RECIPE = re.compile(r"(\w+)(?:\[(-?\d*):(-?\d*)\])?")


def parse_recipe(recipe: str) -> tuple[str, slice]:
    """`"train[:-200]"` → `("train", slice(None, -200))`.

    Raises:
        CatKerasError: it is not written that way.
    """
    match = _RECIPE.fullmatch(recipe)
    if not match:
        raise CatKerasError(f"A split recipe is a name or name[start:stop] with row numbers; received {recipe!r}")
    part, start, stop = match.groups()
    return part, slice(int(start) if start else None, int(stop) if stop else None)


def own_rows(splits: Mapping[str, str], split: str, n_rows: int) -> list[int]:
    """Indices of the rows that belong to a split, without the rows of splits that take precedence over it.

    Args:
        splits: recipe per split. split: whose rows. n_rows: rows in the part that its recipe names.
    """
    part, cut = parse_recipe(splits[split])
    stronger = [other for other in PRECEDENCE if other in splits]
    if split in stronger:
        stronger = stronger[: stronger.index(split)]
    claimed = set()
    for other in stronger:
        other_part, other_cut = parse_recipe(splits[other])
        if other_part == part:
            claimed.update(range(n_rows)[other_cut])
    return [index for index in range(n_rows)[cut] if index not in claimed]
