"""A run from its first pixel to its commit: windows, coarser levels, executors, signals, progress.

What is computed belongs to `steps`, in which pieces to `planning`, and how it is stored to `write`.
"""
