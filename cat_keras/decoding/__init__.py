"""How models answer: generated text and scored options with their log-probabilities, and speculative decoding.

Start at `predictor`. Below it, `generation` continues many prompts at once, `beams` searches the most probable answer,
and `options` scores the answers of a classification; `endings` says where an answer ends, and `generated` collects it.

Families that `slots` reads have a position for each token: `continuous` generates in slots, `speculative_slots` drafts
and judges there, `packed` reads a prompt and all its options as one row. For all others, `aligned`, `options` and
`speculative_rounds` put rows at one position of `cache`, a model with its key-value cache; `uncached` does the same for
families whose cache `cache` cannot write.
"""
