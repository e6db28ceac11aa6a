"""How models answer: generated text and scored options with their log-probabilities, and speculative decoding.

Start at `predictor`. Below it, `generation` continues many prompts at once, `beams` searches the most probable answer,
and `options` scores the answers of a classification; `endings` says where an answer ends, and `generated` collects it.

`generation` has two ways. `continuous` keeps the families that `slots` reads in slots, each at a position of its own;
`aligned` puts rows at one position, for all others. Everything else uses `cache`, a model with its key-value cache;
`uncached` does the same for families whose cache `cache` cannot write.
"""
