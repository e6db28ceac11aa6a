"""How models answer: generated text and scored options with their log-probabilities, and speculative decoding.

`predictor` is the entrance. Below it, `generation` continues many prompts at once and `options` scores the answers of a
classification; both use `cache`, a model with its key-value cache, or `uncached` for families whose cache is not ours.
"""
