"""The files that the command line names: a config is read, and anything else is told as what it is."""

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

LARGEST = 2**20
"""Bytes of a config; what is larger is something else."""
PIPE_PATIENCE = 10
"""Seconds that a pipe is waited for."""
_SUFFIXES = (".yaml", ".yml")
_NAME_ONE = "name a YAML file; the image stands in it as input.path"


def path_kind(path: str) -> PathKind:
    """Return what a path is, by its name and its first bytes."""
    start = _first_bytes(path)
    other_format = format_of(path, start)
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
    image = path.lower().endswith(".zarr") or other_format
    return "image" if image else "file"


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
    """Return the YAML of a file as plain data with the location of everything in it.

    Raises
    ------
    RequestError
        It cannot be read, is something else than a config, or is not YAML.
    """
    document = Document(file=path)
    try:
        content = _read(path)
        if len(content) > LARGEST:
            document.problems.append(Problem("is larger than any config", _NAME_ONE, file=path))
        else:
            document = parse_yaml(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        document.problems.append(
            Problem("is not UTF-8 text", f"save it as UTF-8, or {_NAME_ONE}", file=path, line=line)
        )
    except (OSError, ValueError) as error:
        # ValueError: a NUL character in the name.
        what = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        document.problems.append(Problem(what, "check its name and permissions", file=path))
    if isinstance(document.data, dict):
        return document
    what = "is empty" if document.data is None else f"{shown(document.data)} is not a config"
    nothing = Problem(what, "write input:, steps: and output:", file=path, line=1)
    raise RequestError(_no_config(path) or document.problems or [nothing])


def _read(path: str) -> bytes:
    """Return what is in a file, up to what is too much; of a pipe what comes within some seconds."""

    def opener(name: str, flags: int) -> int:
        # Opened as usual, a pipe would wait for a writer for ever.
        return os.open(name, flags | os.O_NONBLOCK)

    with open(path, "rb", buffering=0, opener=opener) as stream:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        content = b""
        while len(content) <= LARGEST:
            if not poll.poll(PIPE_PATIENCE * 1000):
                what = f"is a pipe into which nothing was written for {PIPE_PATIENCE} s"
                raise RequestError([Problem(what, "name a file", file=path)])
            more = stream.read(LARGEST)
            if not more:
                break
            content += more
    return content


def _no_config(path: str) -> list[Problem]:
    """Return what a path is that is known to be something else than a config."""
    init = f"`bgone init {shlex.quote(path)} -o CONFIG` writes one for it"
    configs = _configs_in(path)
    listed = ", ".join(map(readable, configs[:3])) + (" …" if len(configs) > 3 else "")
    in_it = f"name the YAML file in it: {listed}" if listed else "name a YAML file"
    image = ("is an image, not a config", f"name the YAML file whose input.path it is; {init}")
    refusals = {
        "output": ("is an output, not a config", f"name the YAML file that it was made with, or {init}"),
        "image": image,
        "zarr": image,
        "folder": ("is a folder, not a config", in_it),
        "nothing": ("there is no such file", _similar(path) or _NAME_ONE),
    }
    refusal = None if "\0" in path else refusals.get(path_kind(path))
    return [Problem(*refusal, file=path)] if refusal else []


def refuse_no_output(path: str) -> None:
    """Refuse what cannot be the output of a run.

    Raises
    ------
    RequestError
        A config, a file, a folder without a Zarr in it, or nothing.
    """
    kind = path_kind(path)
    if kind == "config":
        hint = f"give the OME-Zarr that it writes{_output_of(path)}"
        raise RequestError([Problem("is a config, not an output", hint, file=path)])
    if kind not in ("output", "zarr"):
        require_output(path)


def _configs_in(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(_SUFFIXES))
    except (OSError, ValueError):
        return []


def _similar(path: str) -> str:
    """Return the hint for a config that is not there: one beside it with nearly that name."""
    folder, name = os.path.split(path)
    close = difflib.get_close_matches(name[:100], _configs_in(folder or "."), n=1, cutoff=0.7)
    return f"did you mean {readable(os.path.join(folder, close[0]))}?" if close else ""


def _output_of(config: str) -> str:
    """Return the output that a config names, for a reader, where that can be told."""
    try:
        with open(config, encoding="utf-8-sig") as stream:
            path = parse_yaml(stream.read(LARGEST)).data["output"]["path"]
        return f", {resolve_path(path, folder_of(config))}"
    except (OSError, ValueError, TypeError, KeyError, PipelineError):
        return ""
