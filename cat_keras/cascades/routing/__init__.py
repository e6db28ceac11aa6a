"""Routing: which model gets a query is decided from its prompt alone, before any model answers.

A cascade pays the small model for every query and has its answer to judge by. A router asks one model per query, which
costs `(1 − ρ) c_S + ρ c_L`, and never sees an answer. "Route, then cascade" does both: queries that look hard go
straight to the large model, and the small model's answers to the others are judged.

    router = Router().fit(prompts, quality_small, quality_large)      # Hybrid LLM, arXiv 2404.14618
    router.score(["Name the colour of the sky."])                     # chance that the small model does as well
    router.calibrate(held_out, quality, cost, max_cost=3.0)           # a threshold within a budget

`labels` says what is learned, `features` from what, `logistic` how; `ways` compares a cascade, a router and both
at equal cost.
"""

from cat_keras.cascades.routing.labels import best_margin, soft_labels
from cat_keras.cascades.routing.router import FittedRouter, Router, cross_fitted
from cat_keras.cascades.routing.states import states
from cat_keras.cascades.routing.ways import BUDGETS, Way, area, cascade, folds, route, route_then_cascade

__all__ = [
    "BUDGETS", "FittedRouter", "Router", "Way", "area", "best_margin", "cascade", "cross_fitted", "folds", "route",
    "route_then_cascade", "soft_labels", "states",
]  # fmt: skip
