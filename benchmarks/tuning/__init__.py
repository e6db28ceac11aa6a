"""Thresholds for the models of a finished run, from its predictions alone: `stages` → `search` → `shown`."""
