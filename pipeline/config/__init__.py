"""The YAML file: read with the location of every value, checked, and turned into frozen sections.

Here belong the fields that a user can write, and the messages about mistakes in them.
"""
