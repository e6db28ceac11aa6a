"""Models behind an OpenAI-compatible address: `endpoint` says which, and `predictor` answers with it.

Below them, `client` asks many requests at once and turns what goes wrong into one error, `replies` reads what a server
answered, `record` keeps answers in a file as they come, and `matching` finds the option that a free answer names.
"""
