"""A config and an image become a plan: dtypes, halos, blocks, windows, memory.

Here belongs what is decided before the first pixel. `plan`, `blocks` and `memory` are pure; `job` opens the
input, and `start` checks whether the run can begin.
"""
