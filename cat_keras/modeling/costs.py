"""Cost in forward FLOPs, counted from the architecture and the actual token counts; never from wall time."""

from dataclasses import dataclass

import numpy as np

from cat_keras.errors import CatKerasError


@dataclass(frozen=True)
class FlopCount:
    """Forward FLOPs of one decoder-only LM; a multiply and an add are two.

    Attributes:
        per_token: matrix products of all layers, for one token.
        per_logit: the output projection, for one position whose next-token distribution is used.
        per_context: attention of one token to one earlier (or its own) position, over all layers.
    """

    per_token: float
    per_logit: float
    per_context: float

    def forward(self, n_prompt, n_answer, n_logits=None):
        """FLOPs to read `n_prompt` tokens and then produce or score `n_answer` tokens with a key-value cache.

        Args:
            n_prompt, n_answer: ints or arrays, tokens.
            n_logits: positions whose distribution is used; default `n_answer`.
        """
        n_prompt, n_answer = np.asarray(n_prompt, np.float64), np.asarray(n_answer, np.float64)
        # The last answer token is never fed back: its successor is not wanted.
        n = n_prompt + np.maximum(n_answer - 1, 0)
        logits = n_answer if n_logits is None else n_logits
        return self.per_token * n + self.per_logit * logits + self.per_context * n * (n + 1) / 2

    def classify(self, n_prompt, option_lengths):
        """FLOPs to score several options after one prompt that is computed once (per example: list of lengths)."""
        n_prompt = float(n_prompt)
        total = self.per_token * n_prompt + self.per_context * n_prompt * (n_prompt + 1) / 2
        for n in option_lengths:
            fed = max(n - 1, 0)
            seen = n_prompt * fed + fed * (fed + 1) / 2
            total += self.per_token * fed + self.per_logit * n + self.per_context * seen
        # The distribution after the prompt serves the first token of every option.
        return total - self.per_logit * max(len(option_lengths) - 1, 0)


def count(model) -> FlopCount:
    """FLOP counts of a KerasHub `CausalLM`, from its weights and configuration.

    Every matrix except the embedding table is one product per token (query, key, value, output, feed-forward); the
    output projection is the (tied or separate) embedding; attention costs 2·2·width of the heads per position pair.

    Raises:
        CatKerasError: when the backbone does not say its layers and heads (not a decoder of a known kind).
    """
    backbone = model.backbone
    config = backbone.get_config()
    heads = config.get("num_query_heads", config.get("num_heads"))
    layers = config.get("num_layers")
    if not (heads and layers):
        raise CatKerasError(
            "FLOPs are counted from num_layers and num_heads or num_query_heads. "
            f"Received: {type(backbone).__name__} with {sorted(config)}"
        )
    width = config["hidden_dim"]
    head_dim = config.get("head_dim") or width // heads
    # The biases of attention heads have two axes too, (heads, head_dim), and are no product.
    matrices = [
        w for w in backbone.weights if len(w.shape) >= 2 and "embedding" not in w.path and not w.path.endswith("bias")
    ]
    return FlopCount(
        per_token=2.0 * sum(int(np.prod(w.shape)) for w in matrices),
        per_logit=2.0 * width * config["vocabulary_size"],
        per_context=4.0 * layers * heads * head_dim,
    )
