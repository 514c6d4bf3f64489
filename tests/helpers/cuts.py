"""A run with its config to be stopped, and files that are cut or changed."""

import os

from processes import CONFIG, config, movie

TALL = (3, 520, 40)
"""Frames that have a pyramid of two levels."""
TALL_CONFIG = CONFIG.replace("{t: 1, y: 24, x: 48}", "{t: 1, y: 260, x: 40}")


def set_up(folder, name="here", text=TALL_CONFIG):
    """Make a folder with a movie and its config, and return the config."""
    place = folder / name
    place.mkdir()
    movie(place, TALL)
    return config(place, text)


def first_file(image, level):
    return next(path for path in sorted((image / str(level) / "c").rglob("*")) if path.is_file())


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 4
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size - 3)
