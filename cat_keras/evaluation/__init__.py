"""What answers are worth: deferral curves and their areas, confidence, bootstrap intervals and significance tests.

Everything here computes on columns of numbers with numpy and scipy; no model and no framework is loaded.
"""
