"""Cost in forward FLOPs, counted from the architecture and the numbers of tokens; wall time does not enter.

The architecture counts, not how its weights are stored: quantized weights are as many products as the numbers that
they stand for. Of a mixture of experts the price is that of the experts that a token is sent to; `FlopCount.computed`
is what KerasHub computes, which runs all experts. FLOPs of an architecture that is not known are NaN.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cat_keras.errors import CatKerasError, check_number, check_numbers, is_list

LENGTHS = "[0, 1e+12]"  # tokens
MILLION = 1e6  # tokens, of which prices are

Price = tuple[float, float]  # of a million tokens read and of a million written, in any one currency


def check_token_price(name: str, price) -> Price | None:
    """The price of a model's tokens as two floats; None where it is not known.

    Raises:
        CatKerasError: it is not a pair of numbers from 0.
    """
    if price is None:
        return None
    if not is_list(price) or len(price) != 2:
        raise CatKerasError(
            f"{name} is a pair: of a million tokens read and of a million written. Received: {price!r:.80}"
        )
    return tuple(check_number(f"Each of {name}", value, "[0, inf)") for value in price)


def of_tokens(n_prompt: float, n_answer: float, price: Price | None) -> float:
    """What so many tokens read and written cost, in the currency of the price; NaN where it is not known."""
    return math.nan if price is None else (n_prompt * price[0] + n_answer * price[1]) / MILLION


@dataclass(frozen=True)
class FlopCount:
    """Forward FLOPs of one decoder-only LM; a multiply and an add are two. All are NaN where they are not known.

    Attributes:
        per_token: matrix products of all layers, for one token; of a mixture, those of the experts it is sent to.
        per_logit: the output projection, for one position whose next-token distribution is used.
        per_context: attention of one token to one earlier (or its own) position, over all layers.
        idle_per_token: of the experts that a token is not sent to, which KerasHub computes nevertheless; not in the
            price. 0 for every other architecture.
    """

    per_token: float
    per_logit: float
    per_context: float
    idle_per_token: float = 0.0

    def __post_init__(self):
        for name in ("per_token", "per_logit", "per_context", "idle_per_token"):
            value = getattr(self, name)
            if not (isinstance(value, float) and math.isnan(value)):  # NaN is what is not known
                check_number(name, value, "[0, inf)")

    @property
    def known(self) -> bool:
        """Whether these are numbers."""
        return not math.isnan(self.per_token)

    @property
    def computed(self) -> "FlopCount":
        """What is computed where all experts are, as in KerasHub: `per_token` then has those of idle experts."""
        return replace(self, per_token=self.per_token + self.idle_per_token, idle_per_token=0.0)

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


UNKNOWN = FlopCount(math.nan, math.nan, math.nan)


def count(model) -> FlopCount:
    """FLOP counts of a KerasHub `CausalLM`, from its layers and its configuration.

    Every matrix except the embedding table is one product per token (query, key, value, output, feed-forward); the
    output projection is the (tied or separate) embedding; attention costs 2·2·width of the heads per position pair.
    Factors of LoRA are two more products for as long as they stand beside their matrix.

    Raises:
        CatKerasError: the configuration of the backbone has no number of layers or heads, so that it is not a decoder
            of a known kind.
    """
    backbone = model.backbone
    config = backbone.get_config()
    check_known(config, type(backbone).__name__)
    active = idle = lora_per_logit = 0
    counted = set()
    for layer in getattr(backbone, "_flatten_layers", tuple)():
        products, per_logit = _products(layer)
        if products is not None:
            active, lora_per_logit = active + products, lora_per_logit + per_logit
            counted |= set(map(id, layer.weights))
    # Weights of other layers are told by their shapes. Biases of heads have two axes too, (heads, head_dim).
    for weight in backbone.weights:
        if id(weight) in counted or "embedding" in weight.path or weight.path.endswith("bias"):
            continue
        products, unused = of_shape(weight.shape, config)
        active, idle = active + products, idle + unused
    return of_config(config, 2.0 * active, 2.0 * idle, 2.0 * lora_per_logit)


def count_if_known(model) -> FlopCount:
    """`count`, or `UNKNOWN` of an architecture that it does not know: such a model answers, at an unknown price."""
    try:
        return count(model)
    except CatKerasError:
        return UNKNOWN


def check_known(config: Mapping, name: str):
    """Raises CatKerasError unless FLOPs can be counted from the configuration of a backbone."""
    heads = config.get("num_query_heads", config.get("num_heads"))
    known = config.get("num_layers") and heads and config.get("hidden_dim") and config.get("vocabulary_size")
    if not known or not isinstance(heads, int) or (config.get("num_experts") and not _chosen(config)):
        raise CatKerasError(
            "FLOPs are counted from num_layers and num_heads or num_query_heads, hidden_dim and vocabulary_size, and "
            f"of experts from top_k. Received: {name} with {sorted(config)}"
        )


def of_config(config: Mapping, per_token: float, idle_per_token: float = 0.0, more_per_logit: float = 0.0) -> FlopCount:
    """FLOPs of an architecture whose products per token are counted, with its output layer and its attention.

    Args:
        config: of the backbone, see `check_known`. per_token, idle_per_token: see `FlopCount`.
        more_per_logit: of the output projection, beside its table.
    """
    heads = config.get("num_query_heads", config.get("num_heads"))
    head_dim = config.get("head_dim") or config["hidden_dim"] // heads
    return FlopCount(
        per_token=per_token,
        per_logit=2.0 * config["hidden_dim"] * config["vocabulary_size"] + more_per_logit,
        per_context=4.0 * config["num_layers"] * heads * head_dim,
        idle_per_token=idle_per_token,
    )


def of_shape(shape, config: Mapping) -> tuple[float, float]:
    """Products per token of one matrix that is a product for every token: those in use, and those of idle experts.

    Args:
        shape: of the matrix; (experts, …, …) of the experts of one layer. config: of the backbone.
    """
    size = math.prod(shape) if len(shape) >= 2 else 0
    experts = config.get("num_experts")
    if not experts or len(shape) < 3 or shape[0] != experts:
        return size, 0
    used = size * min(_chosen(config), experts) / experts
    return used, size - used


def _chosen(config: Mapping) -> int | None:
    """Experts that a token is sent to."""
    return config.get("top_k") or config.get("num_experts_per_token") or config.get("num_experts_per_tok")


def _products(layer) -> tuple[int | None, int]:
    """Products per token of a layer of Keras, LoRA's included, and those that LoRA adds per logit; None of others."""
    import keras

    rank = getattr(layer, "lora_rank", None) if getattr(layer, "lora_enabled", False) else None
    if isinstance(layer, keras.layers.Dense):
        shape = layer.input_spec.axes[-1], layer.units  # as of quantized weights it is not that of their storage
        return math.prod(shape) + (rank or 0) * sum(shape), 0
    if isinstance(layer, keras.layers.EinsumDense):
        shape = tuple(getattr(layer, "original_kernel_shape", None) or layer._kernel.shape)
        return math.prod(shape) + (_einsum_factors(layer.equation, shape, rank) if rank else 0), 0
    if isinstance(layer, keras.layers.Embedding):  # of which LoRA's second factor alone is a product
        size, width = layer.input_dim, layer.output_dim
        return (rank or 0) * width, (rank or 0) * (size + width)
    return None, 0


def _einsum_factors(equation: str, shape, rank: int) -> int:
    """Products per token of LoRA's factors of an `EinsumDense`: (…, rank) like the kernel, then (rank, last axis)."""
    kernel, output = equation.split(",")[1].split("->")
    sizes = dict(zip(kernel, shape, strict=True))
    first = math.prod(shape[:-1]) * rank
    return first + rank * math.prod(size for axis, size in sizes.items() if axis in output)
