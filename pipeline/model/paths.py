"""Paths as the user writes them, with ~ and ${VAR}, relative to a folder, or URLs."""

import os
import re
from pathlib import Path

from pipeline.model.errors import RequestError

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


def is_url(path: str) -> bool:
    """Return whether a path is a URL.

    >>> is_url("s3://bucket/a.zarr"), is_url("/data/a.zarr")
    (True, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path) is not None


def check_name(path: str, field: str = "") -> None:
    """Raise RequestError if a path is not valid UTF-8, or holds a NUL."""
    # The metadata, the journal and the report are text, and contain paths.
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{path!r} is no UTF-8 text", "rename it", field) from None
    if "\0" in path:
        raise RequestError(f"{path!r} has a NUL in it, as no file has", "correct it", field)


def resolve_path(path: str, base: str | os.PathLike[str]) -> str:
    """Return an absolute path, with ~ and ${VAR} replaced; of a URL only ${VAR}.

    RequestError if a variable is not set, a ${ is not closed, ~ names no user, or it is not valid UTF-8.

    >>> resolve_path("../data/a.tif", "/home/me/configs")
    '/home/me/data/a.tif'
    """
    filled = _VARIABLE.sub(_variable_value, path)
    if "${" in _VARIABLE.sub("", path):
        raise RequestError("${ is not closed", "write a variable as ${NAME}")
    if is_url(filled):
        return filled
    expanded = os.path.expanduser(filled)
    # The hint quotes the path as written, which with a variable in it does not begin with the ~.
    if expanded.startswith("~") and filled == path:
        user = path.partition("/")[0]
        raise RequestError(f"{user} is nobody's home folder here", f"write ./{user} for a file of that name")
    joined = os.path.join(os.path.abspath(base), expanded)
    check_name(joined)
    return _normalize(joined)


def _variable_value(match: re.Match[str]) -> str:
    name = match[1]
    if name not in os.environ:
        message = f"the environment variable {name!r} is not set"
        raise RequestError(message, "set it, or write the path out")
    return os.environ[name]


def _normalize(path: str) -> str:
    """Return an absolute path without `..`."""
    normal = os.path.normpath(path)
    # If a/b is a link, a/b/.. is not a, which normpath takes it for.
    if ".." not in path or os.path.realpath(path) == os.path.realpath(normal):
        return normal
    return os.path.realpath(path)


def folder_of(file: str) -> Path:
    """Return the folder of a config, which its paths are relative to; the current one for a pipe."""
    return Path(os.path.abspath(file)).parent if os.path.isfile(file) else Path.cwd()
