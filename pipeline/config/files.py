"""The files that the command line names: reads a config, and explains what any other path is."""

from __future__ import annotations

import difflib
import os
import select
import shlex
from typing import Literal

from pipeline.config.document import Document
from pipeline.config.yaml import parse_yaml
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.paths import folder_of, is_url, resolve_path
from pipeline.model.text import readable, shown
from pipeline.read.formats import START, format_of
from pipeline.storage.files import is_node
from pipeline.write.own import require_output

PathKind = Literal["nothing", "config", "image", "output", "zarr", "folder", "file"]

LARGEST = 2**20  # bytes of a config
PIPE_PATIENCE = 10  # seconds
_SUFFIXES = (".yaml", ".yml")
_NAME_ONE = "name a YAML file; the image stands in it as input.path"


def path_kind(path: str) -> PathKind:
    """Return what a path is, by its name and its first bytes."""
    start = _first_bytes(path)
    image_format = format_of(path, start)
    if is_url(path):
        return "zarr" if path.rstrip("/").lower().endswith(".zarr") else "file"
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "bgone", "manifest.txt")):
            return "output"
        return "zarr" if is_node(path) else "folder"
    if not os.path.lexists(path):
        return "nothing"
    if path.lower().endswith(_SUFFIXES):
        return "config"
    return "image" if image_format or path.lower().endswith(".zarr") else "file"


def _first_bytes(path: str) -> bytes:
    # A FIFO would wait for whoever writes into it.
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as stream:
            return stream.read(START)
    except OSError:
        return b""


def read_config(path: str) -> Document:
    """Read a YAML file as plain data with locations; RequestError where it cannot be a config."""
    if refusal := _not_a_config(path):
        raise RequestError([Problem(*refusal, file=path)])
    try:
        content = _read(path)
        document = parse_yaml(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = f"save it as UTF-8, or {_NAME_ONE}"
        raise RequestError([Problem("is not UTF-8 text", hint, file=path, line=line)]) from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL character in the name.
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise RequestError([Problem(message, "check its name and permissions", file=path)]) from None
    if not isinstance(document.data, dict):
        message = "is empty" if document.data is None else f"{shown(document.data)} is not a config"
        empty = Problem(message, "write input:, steps: and output:", file=path, line=1)
        raise RequestError(document.problems or [empty])
    return document


def _read(path: str) -> bytes:
    """Return the bytes of a file or pipe, or raise RequestError for too many or none in time."""

    def opener(name: str, flags: int) -> int:
        # Opened as usual, a pipe would wait for a writer for ever.
        return os.open(name, flags | os.O_NONBLOCK)

    with open(path, "rb", buffering=0, opener=opener) as stream:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        content = b""
        while len(content) <= LARGEST:
            if not poll.poll(PIPE_PATIENCE * 1000):
                message = f"is a pipe into which nothing was written for {PIPE_PATIENCE} s"
                raise RequestError([Problem(message, "name a file", file=path)])
            more = stream.read(LARGEST)
            if not more:
                break
            content += more
    if len(content) > LARGEST:
        raise RequestError([Problem("is larger than any config", _NAME_ONE, file=path)])
    return content


def _not_a_config(path: str) -> tuple[str, str] | None:
    """Return why a path is no config, and a hint; None where it may be one."""
    kind = path_kind(path)
    init = f"`bgone init {shlex.quote(path)} -o CONFIG` writes one for it"
    if kind == "output":
        return "is an output, not a config", f"name the YAML file that it was made with, or {init}"
    if kind in ("image", "zarr"):
        return "is an image, not a config", f"name the YAML file whose input.path it is; {init}"
    if kind == "folder":
        configs = _configs_in(path)
        names = ", ".join(map(readable, configs[:3])) + (" …" if len(configs) > 3 else "")
        hint = f"name the YAML file in it: {names}" if names else "name a YAML file"
        return "is a folder, not a config", hint
    # A name with a NUL gets the system's own words, as it is opened.
    if kind == "nothing" and "\0" not in path:
        folder, name = os.path.split(path)
        close = difflib.get_close_matches(name[:100], _configs_in(folder or "."), n=1, cutoff=0.7)
        similar = [f"did you mean {readable(os.path.join(folder, config))}?" for config in close]
        return "there is no such file", similar[0] if similar else _NAME_ONE
    return None


def _configs_in(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(_SUFFIXES))
    except (OSError, ValueError):  # a lone surrogate in the name is a UnicodeEncodeError
        return []


def check_output_argument(path: str) -> None:
    """Raise RequestError for what cannot be the output of a run: a config, a file, a plain folder."""
    kind = path_kind(path)
    if kind == "config":
        hint = f"give the OME-Zarr that it writes{_output_of(path)}"
        raise RequestError([Problem("is a config, not an output", hint, file=path)])
    if kind not in ("output", "zarr"):
        require_output(path)


def _output_of(path: str) -> str:
    """Return the output that a config names, for a message, or an empty string."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            output = parse_yaml(stream.read(LARGEST)).data["output"]["path"]
        return f", {resolve_path(output, folder_of(path))}"
    except (OSError, ValueError, TypeError, KeyError, PipelineError):
        return ""
