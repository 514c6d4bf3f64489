"""Refusal of paths that are one or lie inside one another: input, output, background, work folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator

from pipeline.config.sections import OutputConfig
from pipeline.model.errors import RequestError
from pipeline.model.paths import is_url
from pipeline.read import Source
from pipeline.read.lazy import LazySource
from pipeline.storage.files import is_node
from pipeline.write import work_path


def refuse_path_conflicts(output: OutputConfig, source: Source | LazySource) -> None:
    """Refuse a run that would write into its input, into another Zarr, or into its own output.

    Raises
    ------
    RequestError
        It would.
    """
    targets = {"output.path": output.path, "output.background": output.background, "output.work": output.work}
    inputs = [] if isinstance(source, LazySource) else [source.path, *source.files()]
    local = list(dict.fromkeys(path for path in inputs if not is_url(path)))
    for field, target in targets.items():
        if target is None:
            continue
        if field != "output.work":
            _refuse_inputs(target, local, field)
        elif local and os.path.isdir(local[0]) and _within(target, local[0]):
            raise RequestError(f"lies inside the input, {local[0]}", "let it be another folder", field)
        _refuse_zarr(target, field)
    if output.background is not None:
        _refuse_nested(output.path, output.background)
    if output.work is not None:
        _refuse_work(output.work, [output.path, output.background or output.path])
    _refuse_held(work_path(output.path, "", output.work or ""), local)


def _refuse_inputs(target: str, inputs: list[str], field: str) -> None:
    """Refuse an output that is the input, lies inside it, or holds it."""
    real = os.path.realpath(target)
    for held in inputs:
        if _same(target, held):
            raise RequestError("is the input itself", "write somewhere else", field)
        if is_node(held) and _within(target, held):
            raise RequestError(f"lies inside the input, {held}", "write somewhere else", field)
        if os.path.realpath(held).startswith(real + os.sep):
            raise RequestError(f"holds the input, {held}", "write somewhere else", field)


def _refuse_zarr(target: str, field: str) -> None:
    """Refuse a place inside a Zarr, which would not be that Zarr any more."""
    start = target if field == "output.work" else os.path.dirname(target)
    for folder in _ancestors(start):
        if is_node(folder):
            raise RequestError(
                f"{target} lies inside a Zarr, {folder}", "write beside it, or somewhere else", field
            )


def _refuse_nested(output: str, background: str) -> None:
    """Refuse two outputs that are one, or of which one holds the other."""
    one, other = os.path.realpath(output), os.path.realpath(background)
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise RequestError(
            f"lies inside the output, or holds it: {background}", "write it beside the output",
            "output.background",
        )  # fmt: skip
    if _folded(one) == _folded(other):
        raise RequestError(
            f"differs from the output in capitals alone, which not every disk tells apart: {background}",
            "give it a name of its own",
            "output.background",
        )


def _refuse_work(work: str, outputs: list[str]) -> None:
    for output in outputs:
        if _within(work, output):
            raise RequestError(f"lies inside the output, {output}", "let it be another folder", "output.work")


def _refuse_held(prefix: str, inputs: list[str]) -> None:
    """Refuse an input that lies in a work folder of this output: it would go with it."""
    start = os.path.realpath(prefix)
    for held in inputs:
        if os.path.realpath(held).startswith(start):
            raise RequestError(
                f"the input {held} lies in the folder of an unfinished run of this output",
                "finish that run, or write to another output",
                "output.path",
            )


def _same(one: str, other: str) -> bool:
    """Return whether two paths are one, through links and on disks that know no capitals too."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _within(inner: str, outer: str) -> bool:
    """Return whether a path is a folder or lies inside it, there or not."""
    return any(_same(folder, outer) for folder in _ancestors(inner))


def _ancestors(path: str) -> Iterator[str]:
    """Yield a path and the folders above it, links followed."""
    folder = os.path.realpath(path)
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
