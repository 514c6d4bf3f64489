"""The YAML file: read with the place of every value, checked, and turned into frozen sections.

Here belongs what a user can write, and how a mistake in it is told.
An `input` can be opened; no pixel of it is read here.
"""
