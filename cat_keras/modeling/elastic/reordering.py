"""Puts the important heads and feed-forward units first, so that the first ones are those that a size should keep."""

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.modeling.elastic import families


def kernels(model) -> list[tuple]:
    """(output kernel of the heads, output kernel of the units) of each layer, both with heads or units on axis 0."""
    family = families.of(model)
    return [
        (getattr(getattr(layer, family.attention), family.output)._kernel, getattr(layer, family.down)._kernel)
        for layer in model.backbone.transformer_layers
    ]


def reorder(model, importance: list[dict[str, np.ndarray]]):
    """Sorts the heads and units of each layer by their importance, the largest first; the outputs stay the same.

    Heads that share a key-value head move with it as one group, by the sum of their importance. All layers keep their
    place, and so do channels.

    Args:
        model: a `CausalLM` of a family that can be elastic.
        importance: for each layer "heads" (heads,) and "units" (units,), from `training.elastic.importance`.

    Raises:
        CatKerasError: the numbers are not those of the model's layers, heads and units.
    """
    family, backbone = families.of(model), model.backbone
    whole = families.whole(backbone)
    shapes = [(np.shape(layer["heads"]), np.shape(layer["units"])) for layer in importance]
    if shapes != [((whole.heads,), (whole.feedforward,))] * whole.layers:
        raise CatKerasError(
            f"Importance is a number for each head and each unit of each layer: {whole.layers} x {whole.heads} and "
            f"{whole.feedforward}. Received: {len(shapes)} layers of {shapes[:1]}. Compute it on this model"
        )
    n_groups = backbone.num_key_value_heads
    for layer, values in zip(backbone.transformer_layers, importance, strict=True):
        by_group = np.reshape(values["heads"], (n_groups, -1))
        if n_groups == 1:  # all queries read the one key-value head, and move alone
            groups, heads = np.zeros(1, int), _descending(by_group[0])
        else:
            groups = _descending(by_group.sum(axis=1))
            heads = np.arange(whole.heads).reshape(n_groups, -1)[groups].ravel()
        attention, axis = getattr(layer, family.attention), family.head_axis
        for part, order in ((family.query, heads), (family.key, groups), (family.value, groups)):
            _permute(getattr(attention, part)._kernel, order, axis)
        _permute(getattr(attention, family.output)._kernel, heads, 0)
        units = _descending(np.asarray(values["units"]))
        for part in family.gates:
            _permute(getattr(layer, part)._kernel, units, -1)
        _permute(getattr(layer, family.down)._kernel, units, 0)


def _descending(values) -> np.ndarray:
    """The order of values from the largest; equal ones keep theirs."""
    return np.argsort(-np.asarray(values), kind="stable")


def _permute(kernel, order, axis):
    kernel.assign(np.take(np.asarray(kernel), order, axis=axis))
