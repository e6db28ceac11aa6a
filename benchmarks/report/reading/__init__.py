"""Step 1 of a report, reading: a run folder becomes a checked `Run`, with its manifest, examples and predictions."""
