"""A forward pass that answers questions about target tokens alone: how a large model fills the teacher cache."""

import keras
import numpy as np
from keras import ops

from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import bucket_of, windows
from cat_keras.modeling import heads
from cat_keras.training import losses


class Forward(keras.Model):
    """What a model says of the target tokens of one batch.

    Args:
        model: a `CausalLM`.
        k: how many of the most probable ids to return, with their probabilities; 0 for none.
        whole: whether to return the whole distribution instead.
        temperature: of the probabilities.
    """

    def __init__(self, model, k=0, whole=False, temperature=1.0):
        super().__init__()
        self.model, self.k, self.whole, self.temperature = model, k, whole, temperature
        self.output_layer = heads.output_layer(model)

    def call(self, inputs):
        """From `pad` arrays and flat `positions` (n,): right (n,) bool and logprob (n,).

        With `k` also probs and ids (n, k), with `whole` also whole (n, vocabulary).
        """
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
        forward: compiled.
        data: from `encode`.
        rows: (n,) int, which examples.
        batch_size: examples per batch.
        edges: padded lengths, ascending, of which the last fits all.

    Yields:
        (rows of the batch, a dict of the outputs of `forward`: one entry per target token, in the order of the rows and
        of the positions).
    """
    # Each padded length gets the number of positions that its fullest batch needs, so that it is compiled once.
    bucket = bucket_of(data.lengths, edges)
    counts = [np.sort(data.n_target[bucket == b]) for b in range(len(edges))]
    capacities = np.array([int(n_target[-batch_size:].sum()) for n_target in counts])
    for batch_rows, arrays in windows(data, batch_size, edges, rows):
        weights, count = arrays.pop("weights"), int(data.n_target[batch_rows].sum())
        capacity = capacities[np.searchsorted(edges, arrays["labels"].shape[1])]
        arrays["positions"] = heads.target_positions(weights, capacity)
        answers = forward.predict_on_batch(arrays)
        yield batch_rows, {name: np.asarray(value)[:count] for name, value in answers.items()}
