"""The output layer of a language model, apart from its body, so that logits are computed only where they are needed.

The positions of a prompt have no loss, so their logits need not be computed. For a small model with a large vocabulary
these logits would be most of the work and most of the memory.
"""

import keras
import numpy as np
from keras import ops


def output_layer(model):
    """The part of a functional `CausalLM` after its backbone: (batch, length, width) hidden states → logits.

    Returns:
        a `keras.Function` on one hidden-state tensor, or None for a model whose graph does not show that part.
    """
    try:
        hidden = model.backbone._inbound_nodes[-1].output_tensors
        return keras.Function(hidden[0], model.output) if len(hidden) == 1 else None
    except (AttributeError, IndexError, ValueError):  # a subclassed model; outputs that do not follow from the backbone
        return None


def variables(layer) -> list:
    """The Keras variables that an `output_layer` reads, each once."""
    read = [v for op in layer.operations for v in getattr(op, "variables", ())]
    return list({id(v): v for v in read}.values())


def target_positions(weights: np.ndarray, capacity: int) -> np.ndarray:
    """Flat positions of the target tokens of a batch, filled up to `capacity` with positions of weight 0.

    Args:
        weights: (rows, length), 1 on target tokens.
        capacity: how many positions to return; at least the number of target tokens, at most rows · length.

    Returns:
        (capacity,) int32.
    """
    return np.argsort(weights.ravel() == 0, kind="stable")[:capacity].astype(np.int32)


def gather(values, positions):
    """The entries of `values` (rows, length, …) at flat positions (n,), as one row: (1, n, …)."""
    flat = ops.reshape(values, (-1, *values.shape[2:]))
    return ops.take(flat, positions, axis=0)[None]
