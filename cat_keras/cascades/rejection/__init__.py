"""Rejecting: "neither answer nor defer" for queries from elsewhere, as a third outcome of a cascade.

    predictions = ck.Predictor(small, measures=("hidden",))(examples)
    rule = rejection.get("plugin-ood").fit(
        deferral.columns(predictions, quality_small=...), deferral.columns(traffic)
    )
    scores = rule(later)                          # the lowest are rejected

`Cascade.calibrate(examples, ..., reject=0.1, traffic=queries)` does this for the first model of a cascade.
`joint_curve` measures what that is worth where it is known which queries come from elsewhere.
"""

from cat_keras.cascades.rejection.density import DensityRatio, Mahalanobis, embeddings
from cat_keras.cascades.rejection.outcome import Rejection, check_request
from cat_keras.cascades.rejection.rule import (
    RULES,
    FittedPlugin,
    PluginOOD,
    Rejector,
    confidence,
    energy,
    from_config,
    get,
)
from cat_keras.evaluation.rejection import joint_curve, plugin_score

__all__ = [
    "RULES", "DensityRatio", "FittedPlugin", "Mahalanobis", "PluginOOD", "Rejection", "Rejector", "check_request",
    "confidence", "embeddings", "energy", "from_config", "get", "joint_curve", "plugin_score",
]  # fmt: skip
