"""The run itself: windows of blocks through the chain and into the output, passes, signals, progress.

Here belongs what happens from the first pixel to the last rename. What is computed is for `steps`, in which
pieces for `planning`, and how it is stored for `write`.
"""
