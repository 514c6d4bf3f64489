"""Paths as the user writes them: ~, ${VAR}, URLs, relative to a folder."""

import os
import re
from pathlib import Path

from pipeline.errors import RequestError

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def is_url(path: str) -> bool:
    """Return whether a path names something on a network.

    >>> is_url("s3://bucket/a.zarr"), is_url("/data/a.zarr")
    (True, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path) is not None


def resolve_path(path: str, base: Path) -> str:
    """Return a path as an absolute one, with ~ and ${VAR} filled in; a URL stays as it is.

    Raises
    ------
    RequestError
        A variable is not set.

    Examples
    --------
    >>> resolve_path("../data/a.tif", Path("/home/me/configs"))
    '/home/me/data/a.tif'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise RequestError(f"the variable {match[1]!r} is not set", "set it, or write the path out")
        return os.environ[match[1]]

    filled = _VARIABLE.sub(value, path)
    if is_url(filled):
        return filled
    return os.path.normpath(base / os.path.expanduser(filled))
