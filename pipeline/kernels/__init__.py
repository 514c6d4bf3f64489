"""Compiled filters on NumPy arrays: `morphology`, `gaussian`, the cast at the end, the halving of pyramids.

Here belongs code that numba compiles, and what plans its loops. It knows no Dask, no step and no config.
"""
