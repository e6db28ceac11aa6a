"""How models answer: generated text and scored options with their log-probabilities, and speculative decoding.

Start at `predictor`. Below it, `generation` continues many prompts at once, `beams` searches the most probable answer,
and `options` scores the answers of a classification; `endings` says where an answer ends. They use `cache`, a model
with its key-value cache; `uncached` does the same for families whose cache `cache` cannot write.
"""
