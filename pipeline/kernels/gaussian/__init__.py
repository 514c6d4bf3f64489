"""Gaussians of any width, along any axes."""
