"""Cascades: which answers go to the next model, at which thresholds, and with which guarantee.

`deferral` scores answers, `calibration` chooses thresholds by the simulation in `playback`, `guarantee` certifies them,
`cascade` answers queries, and `saved` writes a cascade to a folder and reads it. `tuning` chooses
thresholds for answers that are there already, `rational` those of long cascades from few labels, and `routing` chooses
a model before any of them answers.
"""
