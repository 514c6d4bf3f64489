"""Refusal of paths that are one or lie inside one another: input, output, background, work folder."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from pipeline.config.sections import OutputConfig
from pipeline.model.errors import RequestError
from pipeline.model.paths import is_url
from pipeline.read import Source
from pipeline.read.lazy import LazySource
from pipeline.storage.files import is_node
from pipeline.write import work_path


def refuse_path_conflicts(output: OutputConfig, source: Source | LazySource) -> None:
    """Raise RequestError for a run that would write into its input, another Zarr or its own output."""
    paths = [] if isinstance(source, LazySource) else [source.path, *source.files()]
    inputs = list(dict.fromkeys(path for path in paths if not is_url(path)))
    for field, path in (("output.path", output.path), ("output.background", output.background)):
        if path is not None:
            _refuse_inputs(path, inputs, field)
            _refuse_zarr(path, os.path.dirname(path), field)
    if output.work is not None:
        folder = inputs[0] if inputs and os.path.isdir(inputs[0]) else None
        _refuse_work(output.work, folder, [output.path, output.background or output.path])
    if output.background is not None:
        _refuse_nested(output.path, output.background)
    work = os.path.realpath(work_path(output.path, "", output.work or ""))
    for path in inputs:
        if os.path.realpath(path).startswith(work):
            # The work folder is removed at the end, and the input would go with it.
            raise RequestError(
                f"the input {path} lies in the folder of an unfinished run of this output",
                "finish that run, or write to another output",
                "output.path",
            )


def _refuse_inputs(output: str, inputs: list[str], field: str) -> None:
    """Refuse an output that is the input, lies inside it, or holds it."""
    real = os.path.realpath(output)
    for path in inputs:
        if _is_same(output, path):
            raise RequestError("is the input itself", "write somewhere else", field)
        if is_node(path) and _is_within(output, path):
            raise RequestError(f"lies inside the input, {path}", "write somewhere else", field)
        if os.path.realpath(path).startswith(real + os.sep):
            raise RequestError(f"holds the input, {path}", "write somewhere else", field)


def _refuse_zarr(path: str, folder: str, field: str) -> None:
    """Refuse a path in a folder inside a Zarr, which would no longer be that Zarr."""
    for parent in _with_parents(folder):
        if is_node(parent):
            hint = "write beside it, or somewhere else"
            raise RequestError(f"{path} lies inside a Zarr, {parent}", hint, field)


def _refuse_work(work: str, input: str | None, outputs: list[str]) -> None:
    """Refuse a work folder inside the input's folder, a Zarr or an output."""
    hint = "let it be another folder"
    if input is not None and _is_within(work, input):
        raise RequestError(f"lies inside the input, {input}", hint, "output.work")
    _refuse_zarr(work, work, "output.work")
    for output in outputs:
        if _is_within(work, output):
            raise RequestError(f"lies inside the output, {output}", hint, "output.work")


def _refuse_nested(output: str, background: str) -> None:
    """Refuse two outputs that are one, or of which one holds the other."""
    first, second = os.path.realpath(output), os.path.realpath(background)
    if f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/"):
        message, hint = "lies inside the output, or holds it", "write it beside the output"
        raise RequestError(f"{message}: {background}", hint, "output.background")
    if _folded(first) == _folded(second):
        message = "differs from the output in capitals alone, which not every disk tells apart"
        raise RequestError(f"{message}: {background}", "give it a name of its own", "output.background")


def _is_same(first: str, second: str) -> bool:
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    try:
        # On a disk that ignores capitals, two names may be one file.
        return os.path.samefile(first, second)
    except OSError:
        return False


def _is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies inside it; neither needs to exist."""
    return any(_is_same(parent, folder) for parent in _with_parents(path))


def _with_parents(path: str) -> list[str]:
    """Return a path and the folders above it, links followed."""
    real = Path(os.path.realpath(path))
    return [str(real), *map(str, real.parents)]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
