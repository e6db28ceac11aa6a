"""Measurements of the speed that this project promises: `python -m benchmarks perf`.

Each module with a function `measure` is a measurement. The others hold what measurements share, and their peers.
"""
