"""Plain data and text that every package uses: images, axes, units, regions, errors, the machine.

What belongs here reads no file and needs no library beyond NumPy, pydantic and psutil.
"""
