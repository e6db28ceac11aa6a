"""Hidden states of a prompt as features of a router."""

from collections.abc import Sequence

import numpy as np

from cat_keras.data.encoding import prompts_within
from cat_keras.data.padding import bucket_lengths
from cat_keras.errors import ROWS, TOKENS, check_list, check_number
from cat_keras.modeling import models


def states(model, prompts: Sequence[str], max_length: int = 512, batch_size: int = 32) -> np.ndarray:
    """Mean last hidden state of the small model over the tokens of each prompt, (n, width) float32.

    This is the pass over the prompt with which the small model begins its answer; a router on these states is not free
    where the query then goes to the large model.

    Args:
        model: a KerasHub `CausalLM` with its preprocessor. prompts: n texts.
        max_length: tokens; of a longer prompt the beginning is left out. batch_size: prompts at a time.

    Raises:
        CatKerasError: no list of texts, or more tokens than the model has positions.
    """
    from keras import ops

    check_number("max_length", max_length, TOKENS, whole=True)
    check_number("batch_size", batch_size, ROWS, whole=True)
    models.check_positions(model, max_length, f"max_length={max_length}", "Give max_length={} or less")
    tokens, _ = prompts_within(check_list("prompts", prompts, str), models.tokenizer_of(model), max_length)
    lengths = np.array([len(row) for row in tokens], dtype=np.int64)
    found: list[np.ndarray] = [np.zeros(0)] * len(tokens)
    edges = np.minimum(bucket_lengths(lengths, 4), max_length) if len(tokens) else ()
    bucket = np.searchsorted(edges, lengths)
    for place, edge in enumerate(edges):
        members = np.flatnonzero(bucket == place)
        for start in range(0, len(members), batch_size):
            rows = members[start : start + batch_size]
            ids, mask = np.zeros((len(rows), edge), np.int32), np.zeros((len(rows), edge), np.int32)
            for i, row in enumerate(rows):
                ids[i, : lengths[row]], mask[i, : lengths[row]] = tokens[row], 1
            hidden = ops.convert_to_numpy(ops.cast(model.backbone({"token_ids": ids, "padding_mask": mask}), "float32"))
            means = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            for row, mean in zip(rows, means, strict=True):
                found[row] = mean
    return np.array(found)
