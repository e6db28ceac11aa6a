"""Methods that a profile may name: the objectives, and known variants of them. Known here without loading Keras."""

# The objectives of cat_keras.training.losses; True when one reads the large model.
OBJECTIVES = {"xent": False, "dist": True, "cat-xent": True, "cat-dist": True, "gatekeeper": False, "rho-1": True}

SEPARATOR = "@"  # between a method and its point of a grid: dist@epochs=2

# Name → (objective, its arguments).
VARIANTS: dict[str, tuple[str, dict]] = {
    # Hybrids, against a small model that confirms its own wrong guesses.
    "cat-uniform": ("cat-xent", {"beta": 0.1}),
    "cat-floor": ("cat-xent", {"floor": 0.1}),
    "cat-top3": ("cat-xent", {"k": 3}),
    "cat-start": ("cat-xent", {"mask": "start"}),
    # cat-xent with every other mask, see cat_keras.training.masks; "all" is xent, "excess" rho-1.
    **{f"mask-{m}": ("cat-xent", {"mask": m}) for m in ("small", "large", "both", "gap", "random", "soft", "sequence")},
    # The weight of the label against the distribution of the large model; 1 is xent and cat-xent, 0.5 the default.
    **{f"dist-w{w}": ("dist", {"w": float(w)}) for w in ("0", "0.25", "0.75")},
    **{f"cat-dist-w{w}": ("cat-dist", {"w": float(w)}) for w in ("0", "0.25", "0.75")},
    **{f"gatekeeper-{alpha}": ("gatekeeper", {"alpha": float(alpha)}) for alpha in ("0.1", "0.3", "0.7", "0.9")},
}
