"""Metrics: pure functions on arrays, named protocols over them, and what reports their figures.

Everything but ``metrics`` (mmengine's side) needs numpy, numba, scipy, torch, tqdm and matplotlib
alone: no compiled extension, no model, no GPU.
"""
