"""How models answer: generated text and scored options with their log-probabilities, and speculative decoding.

Start at `predictor`. Below it, `generation` continues many prompts at once and `options` scores the answers of a
classification. Both use `cache`, a model with its key-value cache; `uncached` does the same for families whose cache
`cache` cannot write.
"""
