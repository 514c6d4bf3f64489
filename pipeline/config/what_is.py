"""What a path on the command line is, where a config or an output belongs and something else is given."""

from __future__ import annotations

import difflib
import os
import select
import shlex
import stat
from typing import Literal

from pipeline.config.yaml import parse_yaml
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.paths import folder_of, is_url, resolve_path
from pipeline.model.text import readable
from pipeline.read.files import TIFF_MAGIC, TIFF_SUFFIXES
from pipeline.read.formats import START, format_of
from pipeline.write.own import is_node, require_output

Kind = Literal["nothing", "config", "image", "output", "zarr", "folder", "file"]

PATIENCE = 10
"""Seconds that a pipe is waited for."""

_CONFIGS = (".yaml", ".yml")


def what_is(path: str) -> Kind:
    """Return what a path is, by its name and its first bytes."""
    if is_url(path):
        return "zarr" if path.rstrip("/").lower().endswith(".zarr") else "file"
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "bgone", "manifest.txt")):
            return "output"
        return "zarr" if is_node(path) else "folder"
    if not os.path.lexists(path):
        return "nothing"
    name = path.lower()
    if name.endswith(_CONFIGS):
        return "config"
    start = _first_bytes(path)
    image = name.endswith((*TIFF_SUFFIXES, ".zarr")) or start.startswith(TIFF_MAGIC) or format_of(name, start)
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


def read_some(path: str, most: int) -> bytes:
    """Return a file's first bytes; of a pipe what comes within some seconds.

    Raises
    ------
    RequestError
        It is a pipe into which nobody writes.
    OSError, ValueError
        It cannot be read.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        with open(path, "rb") as stream:
            return stream.read(most)
    # Opened as usual it would wait for a writer for ever.
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content, poll = b"", select.poll()
        poll.register(pipe, select.POLLIN)
        while len(content) < most:
            if not poll.poll(PATIENCE * 1000):
                what = f"is a pipe into which nothing was written for {PATIENCE} s"
                raise RequestError([Problem(what, "name a file", file=_on_one_line(path))])
            part = os.read(pipe, most)
            if not part:
                break
            content += part
        return content[:most]
    finally:
        os.close(pipe)


def instead_of_a_config(path: str) -> tuple[str, str]:
    """Return what is wrong with a path that is no config, and how to mend it; empty where it may be one."""
    kind, shown = what_is(path), shell_word(path)
    written = f"`bgone init {shown} -o CONFIG` writes one for it"
    if kind == "output":
        return "is an output, not a config", f"name the YAML file that it was made with, or {written}"
    if kind in ("image", "zarr"):
        return "is an image, not a config", f"name the YAML file whose input.path it is; {written}"
    if kind == "folder":
        there = _configs_in(path)
        mend = f"name the YAML file in it: {there}" if there else "name a YAML file"
        return "is a folder, not a config", mend
    if kind == "nothing":
        return "there is no such file", _near(
            path
        ) or "name a YAML file; the image stands in it as input.path"
    return "", ""


def refuse_no_output(path: str) -> None:
    """Refuse what cannot be the output of a run.

    Raises
    ------
    RequestError
        A config, a file, a folder without a Zarr in it, or nothing.
    """
    kind = what_is(path)
    if kind == "config":
        mend = f"give the OME-Zarr that it writes{_output_of(path)}"
        raise RequestError([Problem("is a config, not an output", mend, file=_on_one_line(path))])
    if kind not in ("output", "zarr"):
        require_output(path)


def shell_word(path: str) -> str:
    """Return a path as it is typed in a shell, on one line."""
    return shlex.quote(_on_one_line(path))


def _on_one_line(path: str) -> str:
    return path if path.isprintable() else readable(path)


def _configs_in(folder: str) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(_CONFIGS))
    except OSError:
        return ""
    more = " …" if len(names) > 3 else ""
    return ", ".join(map(readable, names[:3])) + more


def _near(path: str) -> str:
    """Return the mend for a config that is not there: one beside it with nearly that name."""
    folder, name = os.path.split(path)
    try:
        names = [each for each in os.listdir(folder or ".") if each.lower().endswith(_CONFIGS)]
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.7)
    return f"did you mean {readable(os.path.join(folder, close[0]))}?" if close else ""


def _output_of(config: str) -> str:
    """Return the output that a config names, for a reader, where that can be told."""
    try:
        with open(config, encoding="utf-8-sig") as stream:
            said = parse_yaml(stream.read(1 << 20)).data["output"]["path"]
        return f", {resolve_path(said, folder_of(config))}"
    except (OSError, ValueError, TypeError, KeyError, PipelineError):
        return ""
