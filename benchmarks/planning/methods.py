"""The methods that a profile may name: the objectives, and known variants of them. Keras is not loaded for it."""

# The objectives of cat_keras.training.losses → whether it reads the columns of the large model.
OBJECTIVES = {
    "xent": False, "dist": True, "cat-xent": True, "cat-dist": True, "gatekeeper": False, "rho-1": True,
    "defer-token": True,
}  # fmt: skip
ASKING = "defer-token"  # the objective whose models have a token that asks for help

SEPARATOR = "@"  # between a method and its point of a grid: dist@epochs=2

# Name → (objective, its arguments).
VARIANTS: dict[str, tuple[str, dict]] = {
    # Hybrids of cat-xent, meant against a small model that confirms its own wrong guesses.
    "cat-uniform": ("cat-xent", {"beta": 0.1}),
    "cat-floor": ("cat-xent", {"floor": 0.1}),
    "cat-top3": ("cat-xent", {"k": 3}),
    "cat-start": ("cat-xent", {"mask": "start"}),
    # cat-xent with every other mask of cat_keras.training.masks; with "all" it would be xent, with "excess" rho-1.
    **{f"mask-{m}": ("cat-xent", {"mask": m}) for m in ("small", "large", "both", "gap", "random", "soft", "sequence")},
    # w weighs the label against the distribution of the large model. 1 would be xent and cat-xent, 0.5 is the default.
    **{f"dist-w{w}": ("dist", {"w": float(w)}) for w in ("0", "0.25", "0.75")},
    **{f"cat-dist-w{w}": ("cat-dist", {"w": float(w)}) for w in ("0", "0.25", "0.75")},
    # The token that asks for help learns where the large model is right, whatever the small one does.
    "defer-token-right": (ASKING, {"helps": "right"}),
    **{f"gatekeeper-{alpha}": ("gatekeeper", {"alpha": float(alpha)}) for alpha in ("0.1", "0.3", "0.7", "0.9")},
}

# Elastic kinds of methods, see `benchmarks.planning.ladder` → their objective, and whether all sizes are one model.
ELASTIC: dict[str, tuple[str, bool]] = {
    "elastic": ("xent", True),
    "elastic-cat": ("cat-xent", True),
    "static": ("xent", False),
    "static-cat": ("cat-xent", False),
}
