"""Paths as the user writes them: ~, ${VAR}, URLs, relative to a folder."""

import os
import re
from pathlib import Path

from pipeline.model.errors import RequestError

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


def is_url(path: str) -> bool:
    """Return whether a path names something on a network.

    >>> is_url("s3://bucket/a.zarr"), is_url("/data/a.zarr")
    (True, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path) is not None


def check_name(path: str, field: str = "") -> None:
    """Refuse a path that no text can name: metadata, journal and report are texts, and name files.

    Raises
    ------
    RequestError
        It has bytes that are no UTF-8, or a NUL.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{path!r} is no UTF-8 text", "rename it", field) from None
    if "\0" in path:
        raise RequestError(f"{path!r} has a NUL in it, as no file has", "correct it", field)


def resolve_path(path: str, base: str | os.PathLike[str]) -> str:
    """Return a path as an absolute one, with ~ and ${VAR} filled in.

    In a URL ${VAR} is filled in too; the rest of it stays as it is.

    Parameters
    ----------
    path : str
        As written.
    base : path
        The folder that a relative path starts from.

    Raises
    ------
    RequestError
        A variable is not set, a ${ is not closed, ~ names nobody, or it is no UTF-8 text.

    Examples
    --------
    >>> resolve_path("../data/a.tif", "/home/me/configs")
    '/home/me/data/a.tif'
    """
    filled = _VARIABLE.sub(_value, path)
    if "${" in _VARIABLE.sub("", path):
        raise RequestError("${ is not closed", "write a variable as ${NAME}")
    if is_url(filled):
        return filled
    expanded = os.path.expanduser(filled)
    if expanded.startswith("~") and filled == path:
        user = path.partition("/")[0]
        raise RequestError(f"{user} is nobody's home folder here", f"write ./{user} for a file of that name")
    joined = os.path.join(os.path.abspath(base), expanded)
    check_name(joined)
    return _tidy(joined)


def _value(match: re.Match[str]) -> str:
    value = os.environ.get(match[1])
    if value is None:
        raise RequestError(
            f"the environment variable {match[1]!r} is not set", "set it, or write the path out"
        )
    return value


def _tidy(path: str) -> str:
    """Return a path without `..`, meaning what it meant: a folder before a `..` may be a link."""
    tidy = os.path.normpath(path)
    if ".." not in path or os.path.realpath(path) == os.path.realpath(tidy):
        return tidy
    return os.path.realpath(path)


def folder_of(file: str) -> Path:
    """Return the folder that paths in a config are relative to.

    That of the file as it was named; the current one where the config comes through a pipe.
    """
    return Path(os.path.abspath(file)).parent if os.path.isfile(file) else Path.cwd()
