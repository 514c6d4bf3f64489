"""The commit of a run: a sealed image is renamed to its output, in one step that replaces nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.model.errors import RequestError, StoppedError
from pipeline.storage import durable
from pipeline.write.layout import Layout, work_path
from pipeline.write.metadata import BGONE
from pipeline.write.own import SEALED, discard_work, holds_run, overwrite_refusal, remove_gone, remove_work
from pipeline.write.region import read_file

State = Literal["new", "unfinished", "sealed", "published"]


def state(layout: Layout) -> State:
    """Return how far earlier starts of a run have come.

    Returns
    -------
    str
        "new": there is nothing of it. "unfinished": there is a work folder. "sealed": only
        `publish` is left. "published": the output is complete. A process may have died between
        the rename and the removal of the work folder, in which a replaced output may still lie;
        `publish` removes it.
    """
    if not holds_run(layout.work):
        provenance = provenance_of(layout.path) or {}
        return "published" if provenance.get("fingerprint") == layout.fingerprint else "new"
    if run := _sealed_run(layout):
        if _run_of(layout.path) == run:
            return "published"
        if _run_of(layout.image) == run:
            return "sealed"
    return "unfinished"


def _sealed_run(layout: Layout) -> str:
    """Return the id of the run that sealed a work folder, or an empty string."""
    return (read_file(f"{layout.work}/{SEALED}") or b"").decode()


def _run_of(output: str) -> str:
    return str((provenance_of(output) or {}).get("run", ""))


def provenance_of(output: str) -> dict[str, Any] | None:
    """Return how an output was made, or None if it is not a complete output of bgone."""
    data = read_file(f"{output}/{BGONE}/zarr.json")
    zarr3 = data is not None
    if data is None:
        data = read_file(f"{output}/{BGONE}/.zattrs")
    try:
        attributes = json.loads(data or b"")
        provenance = (attributes["attributes"] if zarr3 else attributes)[BGONE]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(provenance) if isinstance(provenance, Mapping) else None


def check_target(path: str, *, overwrite: bool = False, field: str = "output.path") -> None:
    """Raise RequestError if something exists at `path` that must not be replaced.

    Without `overwrite` that is anything; with it, whatever `overwrite_refusal` objects to.
    """
    if not os.path.lexists(path):
        return
    reason = overwrite_refusal(path)
    if not overwrite:
        why, hint = (f" and {reason}", "") if reason else ("", ", or replace it with --overwrite")
        raise RequestError(f"{path} exists already{why}", f"choose another output{hint}", field)
    if reason:
        raise RequestError(
            f"{path} {reason}, so --overwrite does not replace it",
            "choose another output, or move that away yourself",
            field,
        )


def check_publish(layout: Layout, *, overwrite: bool = False) -> None:
    """Raise RequestError if `publish` would find something that it must not replace."""
    for output in layout.outputs:
        if not os.path.lexists(output.path) or _run_of(output.path) == _sealed_run(layout):
            continue
        if not overwrite:
            raise _path_taken(output)
        if reason := overwrite_refusal(output.path):
            raise _path_taken(output, f", {reason}")


def publish(layout: Layout, *, overwrite: bool = False) -> None:
    """Rename the sealed image to its output, and remove the work folder.

    With `overwrite` an old output stays complete until that step. After a crash at any point
    another call finishes the job.

    Raises
    ------
    RequestError
        Something now exists at the output's path, without `overwrite`, or it is no OME-Zarr;
        the work folder stays.
    StoppedError
        The rename failed.
    """
    now = state(layout)
    if now in ("new", "unfinished"):
        raise StoppedError(f"{layout.image} is not whole", "the same command goes on")
    if now == "sealed":
        check_publish(layout, overwrite=overwrite)
        # The background first: `state` asks for the output alone, so it must come last.
        for output in reversed(layout.outputs):
            if _run_of(output.path) != _sealed_run(layout):
                _move_into_place(output, overwrite)
    discard(layout)


def _move_into_place(layout: Layout, overwrite: bool) -> None:
    source = _image_on_same_disk(layout)
    if overwrite and os.path.lexists(layout.path):
        aside = f"{os.path.dirname(source)}/replaced-{layout.folder}"
        durable.remove_tree(aside)
        durable.exchange(source, layout.path, aside)
    else:
        try:
            durable.rename_new(source, layout.path)
        except FileExistsError:
            raise _path_taken(layout) from None
    durable.sync_path(os.path.dirname(layout.path) or ".")


def _path_taken(layout: Layout, reason: str = "") -> RequestError:
    return RequestError(
        f"{layout.path} has come to exist during the run{reason}, whose result waits in {layout.work}",
        f"move it away{'' if reason else ', or use --overwrite,'} and run the same command again",
        "output.background" if layout.holder else "output.path",
    )


def _image_on_same_disk(layout: Layout) -> str:
    """Return the sealed image on the output's file system, copied there if it lies on another."""
    # Only within a file system is a rename possible, and one step.
    parent = os.path.dirname(layout.path) or "."
    if os.stat(layout.image).st_dev == os.stat(parent).st_dev:
        return layout.image
    near = layout.at(layout.fingerprint, parent)
    remove_work(near.work)
    # `holds_run` knows a work folder by it.
    durable.make_folder(near.drafts)
    copied: list[str] = []

    def copy(source: str, target: str) -> None:
        durable.copy_file(source, target)
        copied.append(target)

    shutil.copytree(layout.image, near.image, copy_function=copy)
    durable.sync_all(copied, near.work)
    return near.image


def discard(layout: Layout) -> None:
    """Remove the work folder, and the copy beside the output if there is one."""
    parents = [os.path.dirname(output.path) or "." for output in layout.outputs]
    for run in {layout.work_root, *parents}:
        discard_work(work_path(layout.path, layout.fingerprint, run))
        remove_gone(work_path(layout.path, "", run))
