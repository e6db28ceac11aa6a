"""A forward pass that answers questions about target tokens alone: the large model's side of the teacher cache."""

import keras
import numpy as np
from keras import ops

from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import windows
from cat_keras.modeling import heads
from cat_keras.training import losses


class Forward(keras.Model):
    """What is asked of one batch at its target positions.

    Args:
        model: a `CausalLM`.
        k: how many of the most probable ids to return, with probabilities; 0 for none.
        whole: also return the whole distribution.
        temperature: of the probabilities.
    """

    def __init__(self, model, k=0, whole=False, temperature=1.0):
        super().__init__()
        self.model, self.k, self.whole, self.temperature = model, k, whole, temperature
        self.output_layer = heads.output_layer(model)

    def call(self, inputs):
        """From `pad` arrays and flat `positions` (n,): right (n,) bool, logprob (n,), and what else was asked."""
        tokens = {"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]}
        states = self.model.backbone(tokens) if self.output_layer else self.model(tokens)
        states = heads.gather(states, inputs["positions"])
        logits = ops.cast(self.output_layer(states) if self.output_layer else states, "float32")
        labels = heads.gather(inputs["labels"], inputs["positions"])
        out = {"right": losses.is_right(logits, labels)[0], "logprob": losses.label_logprob(logits, labels)[0]}
        if self.k or self.whole:
            probs = ops.softmax(logits[0] / self.temperature, axis=-1)
            if self.whole:
                out["whole"] = probs
            else:
                out["probs"], out["ids"] = ops.top_k(probs, self.k, sorted=True)
        return out


def over(forward: Forward, data: Encoded, rows: np.ndarray, batch_size: int, edges: np.ndarray):
    """Runs a model over some examples, batch by batch in the order of their lengths.

    Args:
        forward: compiled. rows: (n,) int, which examples. edges: padded lengths, of which the last fits all.

    Yields:
        (rows of the batch, a dict of its answers, one row per target token in the order of rows and positions).
    """
    # One number of positions per padded length: one compilation each.
    bucket = np.searchsorted(edges, data.lengths)
    most = np.array([_most(data.n_target[bucket == b], batch_size) for b in range(len(edges))])
    for chosen, arrays in windows(data, batch_size, edges, rows):
        weights, count = arrays.pop("weights"), int(data.n_target[chosen].sum())
        room = most[np.searchsorted(edges, arrays["labels"].shape[1])]
        arrays["positions"] = heads.target_positions(weights, room)
        answers = forward.predict_on_batch(arrays)
        yield chosen, {name: np.asarray(value)[:count] for name, value in answers.items()}


def _most(counts, batch_size) -> int:
    """The most target tokens that a batch of these examples can hold."""
    return int(np.sort(counts)[-batch_size:].sum())
