"""Stored bytes: chunks encoded and decoded, and files that appear when they are whole.

Here belongs what turns pixels into bytes on a disk and back, in one place for inputs and outputs. What the
bytes mean (an image, a pyramid, a run) is for `read` and `write`.
"""
