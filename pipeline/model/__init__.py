"""What every other package speaks of: images, axes, units, regions, errors, the machine.

Here belongs what is plain data or plain words and knows no file format, no step and no library
beyond NumPy and pydantic. Nothing here reads a file or an image.
"""
