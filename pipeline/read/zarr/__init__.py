"""Zarr and OME-Zarr as inputs."""
