"""A policy in the words of a gateway's own configuration, where that can say the same.

vLLM semantic router, decision algorithm `confidence`: it asks the models of a decision in order, and keeps an answer
whose confidence is at least `threshold`. With `confidence_method: avg_logprob` the confidence is not the mean
log-probability itself, but that of [−3, 0] nats on [0, 1], cut off there: `min(1, max(0, (l + 3) / 3))`.
"""

import numpy as np

from cat_keras.cascades.policy import Policy

LOWEST = -3.0  # nats per token, what the router calls a confidence of 0
RULE = "chow-average"


def semantic_router(policy: Policy) -> tuple[str, str]:
    """The policy as a part of the configuration of vLLM semantic router.

    Returns:
        (YAML, ""), or ("", why the router cannot say the same).
    """
    names = {rule.name for rule in policy.rules}
    if names != {RULE}:
        return "", f"its confidence is the mean token log-probability ({RULE}), and the policy's is {', '.join(names)}"
    thresholds = set(policy.thresholds)
    if len(thresholds) > 1:
        return "", "it has one threshold for all models, and the policy has several"
    threshold = thresholds.pop()
    if not LOWEST < threshold <= 0:
        return "", f"its thresholds lie above {LOWEST:g} nats per token, up to 0, and the policy's is {threshold:g}"
    confidence = np.nextafter((threshold - LOWEST) / -LOWEST, 0)  # rounding is not to defer what the policy keeps
    models = "\n".join(f"  - model: {_quoted(name)}" for name in policy.models)
    return (
        f"# mean token log-probability >= {threshold!r} nats keeps an answer\n"
        f"modelRefs:\n{models}\n"
        "algorithm:\n"
        "  type: confidence\n"
        "  confidence:\n"
        "    confidence_method: avg_logprob\n"
        f"    threshold: {float(confidence)!r}\n"
        "    escalation_order: declared\n"
    ), ""


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
