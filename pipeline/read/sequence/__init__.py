"""Several files that are one image, told by their names."""
