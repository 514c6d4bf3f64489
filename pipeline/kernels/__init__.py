"""Fast exact filters on NumPy arrays: one thread each, no dask, no config."""
