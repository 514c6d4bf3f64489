"""Where tasks run: threads, worker processes, a scheduler of Dask, a SLURM queue."""
