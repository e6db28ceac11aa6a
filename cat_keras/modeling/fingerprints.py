"""Identity of a language model by content: its configuration and its weights."""

import hashlib
import json
from collections.abc import Iterable


def weights_fingerprint(model, weights: Iterable | None = None) -> str:
    """sha256 (hex) of a model's configuration and weights, the same on every backend.

    Args:
        model: a `CausalLM`.
        weights: those of its variables that count; None for all weights of the backbone.
    """
    settings = {
        name: value if isinstance(value, int | float | str | bool) else json.dumps(value)
        for name, value in model.backbone.get_config().items()
        if _is_setting(value) and name not in ("name", "trainable")  # frozen is the same model
    }
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for weight in model.backbone.weights if weights is None else weights:
        value = weight.numpy() if hasattr(weight, "numpy") else weight
        digest.update(f"{value.shape}{value.dtype}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _is_setting(value) -> bool:
    """Whether a value of a configuration is a number or a text, or a list of them, and not a part with weights."""
    if isinstance(value, list | tuple):
        return all(map(_is_setting, value))
    return isinstance(value, int | float | str | bool)
