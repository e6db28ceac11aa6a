"""Cascades: which answers go to the next model, at which thresholds, and with which promise.

`deferral` scores answers, `calibration` chooses thresholds, `guarantee` promises what they keep, `cascade` answers
queries, and `saved` is the folder that a cascade is written to.
"""
