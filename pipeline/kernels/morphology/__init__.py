"""Erosions, dilations, openings and top-hats with any symmetric footprint."""
