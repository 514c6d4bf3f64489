"""Compiled filters on NumPy arrays: morphology, Gaussians, the cast of results, the halving for pyramids.

Functions that numba compiles, and the plans of their loops, belong here; Dask, steps and configs do not.
"""
