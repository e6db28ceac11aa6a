"""Learned deferral rules: they predict from the small model's answer what the large model would gain.

These are the post-hoc estimators of arXiv 2307.02764 (for classification) and arXiv 2404.10136 (for generation, from
quantiles of the token log-probabilities). `fit` reads answers of both models on calibration examples:

    rule = LearnedRule(target="quality")
    columns = deferral.columns(predictions, quality_small=..., quality_large=...)
    fitted = rule.fit(columns)                    # a rule like any other, on ids it was not fitted on
    scores = cross_fitted(rule, columns)          # or: every id scored by a model that never saw it

Fitted models other than trees are a few matrices, which are stored as plain numbers.
"""

from cat_keras.cascades.deferral.learned.features import features, reference_probability
from cat_keras.cascades.deferral.learned.rule import (
    PROBABILITIES,
    QUALITIES,
    CrossFit,
    FittedRule,
    LearnedRule,
    cross_fitted,
    from_config,
    named,
)

__all__ = [
    "PROBABILITIES",
    "QUALITIES",
    "CrossFit",
    "FittedRule",
    "LearnedRule",
    "cross_fitted",
    "features",
    "from_config",
    "named",
    "reference_probability",
]
