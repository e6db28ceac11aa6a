"""Answers of models that ran elsewhere → a run folder that `report`, `compare`, `keep`, `verify` and `tune` read.

`tables`, `lm_eval`, `inspect_logs` and `every_eval` read files into one form, `answers.Answers`; `joining` finds the
questions that all models answered and counts what is lost; `checks` says what looks wrong; `folder` writes the run.
"""
