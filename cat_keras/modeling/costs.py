"""Cost in forward FLOPs, counted from the architecture and the numbers of tokens; wall time does not enter."""

from dataclasses import dataclass

import numpy as np

from cat_keras.errors import CatKerasError, check_number, check_numbers

LENGTHS = "[0, 1e+12]"  # tokens


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

    def __post_init__(self):
        for name in ("per_token", "per_logit", "per_context"):
            check_number(name, getattr(self, name), "[0, inf)")

    def forward(self, n_prompt, n_answer, n_logits=None):
        """FLOPs to read `n_prompt` tokens and then produce or score `n_answer` tokens with a key-value cache.

        Args:
            n_prompt, n_answer: ints or arrays, tokens.
            n_logits: positions whose distribution is used; default `n_answer`.
        """
        n_prompt, n_answer = check_numbers("n_prompt", n_prompt, LENGTHS), check_numbers("n_answer", n_answer, LENGTHS)
        # The last answer token is not fed back, since nobody asks for its successor.
        n = n_prompt + np.maximum(n_answer - 1, 0)
        n_logits = n_answer if n_logits is None else check_numbers("n_logits", n_logits, LENGTHS)
        return self.per_token * n + self.per_logit * n_logits + self.per_context * n * (n + 1) / 2

    def classify(self, n_prompt, option_lengths):
        """FLOPs to score the options of one example after its prompt, which is computed once.

        Args:
            n_prompt: int, tokens of the prompt.
            option_lengths: list of ints, tokens of each option.
        """
        n_prompt = float(check_number("n_prompt", n_prompt, LENGTHS))
        for n in option_lengths:
            check_number("Each of option_lengths", n, LENGTHS)
        total = self.per_token * n_prompt + self.per_context * n_prompt * (n_prompt + 1) / 2
        for n in option_lengths:
            n_inputs = max(n - 1, 0)  # the last token is only predicted
            n_pairs = n_prompt * n_inputs + n_inputs * (n_inputs + 1) / 2  # of positions that attend to each other
            total += self.per_token * n_inputs + self.per_logit * n + self.per_context * n_pairs
        # The distribution after the prompt serves the first token of every option, and is computed once.
        return total - self.per_logit * max(len(option_lengths) - 1, 0)


def count(model) -> FlopCount:
    """FLOP counts of a KerasHub `CausalLM`, from its weights and configuration.

    Every matrix except the embedding table is one product per token (query, key, value, output, feed-forward); the
    output projection is the (tied or separate) embedding; attention costs 2·2·width of the heads per position pair.

    Raises:
        CatKerasError: the configuration of the backbone has no number of layers or heads, so that it is not a decoder
            of a known kind.
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
    # The biases of attention heads also have two axes, (heads, head_dim), but are added and not multiplied.
    matrices = [
        w for w in backbone.weights if len(w.shape) >= 2 and "embedding" not in w.path and not w.path.endswith("bias")
    ]
    return FlopCount(
        per_token=2.0 * sum(int(np.prod(w.shape)) for w in matrices),
        per_logit=2.0 * width * config["vocabulary_size"],
        per_context=4.0 * layers * heads * head_dim,
    )
