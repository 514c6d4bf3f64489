"""A run that can be stopped, and functions that damage files."""

import os

from processes import CONFIG, config, movie

# Large enough for a pyramid of two levels.
TALL = (3, 520, 40)
TALL_CONFIG = CONFIG.replace("{t: 1, y: 24, x: 48}", "{t: 1, y: 260, x: 40}")


def set_up(folder, name="here", text=TALL_CONFIG):
    """Make a folder with a movie and its config, and return the path of the config."""
    path = folder / name
    path.mkdir()
    movie(path, TALL)
    return config(path, text)


def first_file(image, level):
    return next(path for path in sorted((image / str(level) / "c").rglob("*")) if path.is_file())


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 4
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size - 3)
