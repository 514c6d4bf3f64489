"""Sealing and publishing an output: metadata last, then one rename that replaces nothing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from pipeline.model.errors import RequestError, StoppedError
from pipeline.storage import durable
from pipeline.storage.codec import crc32c
from pipeline.write.create import array_metadata
from pipeline.write.layout import Layout
from pipeline.write.manifest import MANIFEST, manifest_parts
from pipeline.write.metadata import BGONE, ContrastLimits, group_files, image_attributes
from pipeline.write.own import holds_run, remove_own, strangers, why_kept
from pipeline.write.region import ChunkRecord, read_file


class Contents(NamedTuple):
    """What a sealed output holds and says: its files, what is kept of its run, contrast of its channels."""

    records: Iterable[ChunkRecord]
    provenance: Mapping[str, Any]
    limits: Sequence[ContrastLimits] | None = None


State = Literal["new", "unfinished", "sealed", "published"]
_SEALED = "sealed"
GONE = ".gone"
"""Ends the name of a work folder that is being removed."""
ABOVE = "above"
"""In a work folder: the folders above it that were made for it, and go with it if they hold nothing else."""


def seal(
    layout: Layout,
    records: Iterable[ChunkRecord],
    provenance: Mapping[str, Any],
    *,
    limits: Sequence[ContrastLimits] | None = None,
    files: Mapping[str, bytes] | None = None,
    background: Contents | None = None,
) -> None:
    """Complete the image in the work folder: manifest, provenance and, last, its NGFF metadata.

    The background, where there is one, is completed before it.

    Parameters
    ----------
    layout : Layout
        The output.
    records : iterable of ChunkRecord
        One for each file of each level, in any order; read once.
    provenance : mapping
        What is kept of the run: anything JSON has. `fingerprint` and `run`, its own id, are added.
    limits : sequence of ContrastLimits, optional
        Contrast of each channel.
    files : mapping of str to bytes, optional
        Further files to keep with the output (a report): name → bytes; they lie beside the manifest.
    background : Contents, optional
        The same of the background, where the layout has one.

    Raises
    ------
    StoppedError
        Some file was never written; nothing is sealed then.
    """
    if (layout.background is None) != (background is None):
        raise ValueError("a background is sealed with its output, and only with it")
    run = uuid.uuid4().hex
    if layout.background is not None and background is not None:
        _complete_image(layout.background, background, run)
    _complete_image(layout, Contents(records, provenance, limits), run, files)
    drafts = f"{layout.work}/drafts"
    durable.write_file(f"{layout.work}/{_SEALED}", run.encode(), drafts)
    durable.sync_all([f"{layout.work}/{_SEALED}"], layout.work)


def _complete_image(
    layout: Layout, contents: Contents, run: str, files: Mapping[str, bytes] | None = None
) -> None:
    drafts = f"{layout.work}/drafts"
    group = f"{layout.image}/{BGONE}"
    durable.make_folder(group)
    listed = itertools.chain(_complete(layout, contents.records), _array_files(layout))
    durable.write_file(f"{layout.image}/{MANIFEST}", manifest_parts(listed), drafts)
    kept = {f"{BGONE}/{name}": data for name, data in (files or {}).items()}
    attributes = {BGONE: {**contents.provenance, "fingerprint": layout.fingerprint, "run": run}}
    kept |= group_files(layout, BGONE, attributes)
    root = group_files(layout, "", image_attributes(layout, contents.limits))
    for batch in (kept, root):
        for name, data in batch.items():
            durable.write_file(f"{layout.image}/{name}", data, drafts)
        durable.sync_all([f"{layout.image}/{name}" for name in [MANIFEST, *batch]], layout.image)


def _complete(layout: Layout, records: Iterable[ChunkRecord]) -> Iterator[ChunkRecord]:
    """Pass the records on, and stop where a file has none or two."""
    seen = [np.zeros(level.grid, bool) for level in layout.levels]
    for record in records:
        parts = record.key.split("/")
        index = tuple(int(part) for part in parts[-len(layout.spec.axes) :])
        level = int(parts[0])
        if seen[level][index]:
            raise StoppedError(f"{record.key} was journalled twice", "run again with --overwrite")
        seen[level][index] = True
        yield record
    for level, done in enumerate(seen):
        if not done.all():
            index = tuple(int(i[0]) for i in np.nonzero(~done))
            missing, first = int(done.size - done.sum()), layout.chunk_key(level, index)
            raise StoppedError(
                f"{missing} of {done.size} files of level {level} were never written, {first} the first",
                "the same command writes them",
            )


def _array_files(layout: Layout) -> Iterator[ChunkRecord]:
    """Yield what the arrays' own metadata files hold: a changed bit there changes every pixel."""
    for level in range(len(layout.levels)):
        for name, data in array_metadata(layout, level).items():
            yield ChunkRecord(f"{level}/{name}", len(data), crc32c(data))


def state(layout: Layout) -> State:
    """Return how far a run has come, for the next one to go on from.

    Returns
    -------
    str
        "new": nothing is there. "unfinished": there is a work folder. "sealed": only `publish` is
        left. "published": the output is complete under its name. A process may have died between
        the rename and the removal of the work folder, in which what was replaced may still lie in
        the place of the image; `publish` removes it.
    """
    if not holds_run(layout.work):
        return "published" if stored_fingerprint(layout.path) == layout.fingerprint else "new"
    run = _sealed_run(layout)
    if run:
        for where, answer in ((layout.path, "published"), (layout.image, "sealed")):
            if _run_of(where) == run:
                return cast(State, answer)
    return "unfinished"


def _sealed_run(layout: Layout) -> str:
    """Return the id of the run whose result a work folder holds whole, or nothing."""
    return (read_file(f"{layout.work}/{_SEALED}") or b"").decode()


def _run_of(output: str) -> str:
    return str((provenance_of(output) or {}).get("run", ""))


def provenance_of(output: str) -> dict[str, Any] | None:
    """Return what an output keeps of its run, or None where bgone did not write it whole."""
    for name, inner in (("zarr.json", "attributes"), (".zattrs", None)):
        data = read_file(f"{output}/{BGONE}/{name}")
        if data is None:
            continue
        try:
            attributes = json.loads(data)
            found = (attributes[inner] if inner else attributes)[BGONE]
        except (ValueError, KeyError, TypeError):
            return None
        return dict(found) if isinstance(found, Mapping) else None
    return None


def stored_fingerprint(output: str) -> str | None:
    """Return the fingerprint of a complete output of bgone, or None."""
    found = provenance_of(output)
    return None if found is None else str(found.get("fingerprint"))


def check_target(path: str, *, overwrite: bool = False, field: str = "output.path") -> None:
    """Refuse an output path at which something lies that must not be replaced.

    Raises
    ------
    RequestError
        Something exists there, without `overwrite`; or it is no OME-Zarr, or holds what is no
        part of one, so that `overwrite` would delete something else.
    """
    if not os.path.lexists(path):
        return
    reason = why_kept(path)
    if not overwrite:
        what, mend = (f" and {reason}", "") if reason else ("", ", or replace it with --overwrite")
        raise RequestError(f"{path} exists already{what}", f"choose another output{mend}", field)
    if reason:
        raise RequestError(
            f"{path} {reason}, so --overwrite does not replace it",
            "choose another output, or move that away yourself",
            field,
        )


def check_publish(layout: Layout, *, overwrite: bool = False) -> None:
    """Refuse to bring a sealed image where something has come to lie that must not be replaced.

    Raises
    ------
    RequestError
        Something lies there, without `overwrite`, or it is no OME-Zarr; the work folder stays.
    """
    for output in layout.outputs:
        if not os.path.lexists(output.path) or _run_of(output.path) == _sealed_run(layout):
            continue
        if not overwrite:
            raise _in_the_way(output)
        if reason := why_kept(output.path):
            raise _in_the_way(output, f", {reason}")


def publish(layout: Layout, *, overwrite: bool = False) -> None:
    """Bring the sealed image under its name in one step, and remove the work folder.

    With `overwrite` the old output is there until this step and gone after it. A background comes
    first, so that it is there where its output is. Called again after a crash at any point, it
    finishes what it began.

    Raises
    ------
    RequestError
        Something has come to lie at the output's path, without `overwrite`, or it is no
        OME-Zarr; the work folder stays.
    StoppedError
        The rename failed.
    """
    now = state(layout)
    if now in ("new", "unfinished"):
        raise StoppedError(f"{layout.image} is not whole", "the same command goes on")
    if now == "sealed":
        check_publish(layout, overwrite=overwrite)
        for output in reversed(layout.outputs):
            if _run_of(output.path) != _sealed_run(layout):
                _bring(output, overwrite)
    discard(layout)


def _bring(layout: Layout, overwrite: bool) -> None:
    """Bring one sealed image under its name."""
    source = _same_disk(layout)
    aside = f"{os.path.dirname(source)}/replaced-{layout.folder}"
    if overwrite and os.path.lexists(layout.path):
        durable.remove_tree(aside)
        durable.exchange(source, layout.path, aside)
    else:
        try:
            durable.rename_new(source, layout.path)
        except FileExistsError:
            raise _in_the_way(layout) from None
    durable.sync_path(os.path.dirname(layout.path) or ".")


def _in_the_way(layout: Layout, reason: str = "") -> RequestError:
    return RequestError(
        f"{layout.path} has come to exist during the run{reason}, whose result waits in {layout.work}",
        f"move it away{'' if reason else ', or use --overwrite,'} and run the same command again",
        "output.background" if layout.holder else "output.path",
    )


def _same_disk(layout: Layout) -> str:
    """Return the image's path on the output's file system, copied there if it lies on another."""
    parent = os.path.dirname(layout.path) or "."
    if os.stat(layout.image).st_dev == os.stat(parent).st_dev:
        return layout.image
    near = layout.at(layout.fingerprint, parent)
    remove_own(near.work)
    # What tells a work folder from others.
    durable.make_folder(f"{near.work}/drafts")
    copied: list[str] = []

    def copy(source: str, target: str) -> None:
        durable.copy_file(source, target)
        copied.append(target)

    shutil.copytree(layout.image, near.image, copy_function=copy)
    durable.sync_all(copied, near.work)
    return near.image


def discard(layout: Layout) -> None:
    """Remove the work folder, and what was copied from it beside the output."""
    near = [os.path.dirname(output.path) or "." for output in layout.outputs]
    for folder in {layout.work, *(layout.at(layout.fingerprint, parent).work for parent in near)}:
        discard_work(folder)


def discard_work(folder: str) -> None:
    """Remove a work folder: its name at once, so that no run finds half of it, then what it holds.

    What bgone did not put there stays, and keeps the folder.
    """
    gone = f"{folder}{GONE}"
    remove_own(gone)
    if os.path.isdir(folder) and not os.path.islink(folder):
        above = (read_file(f"{folder}/{ABOVE}") or b"").decode(errors="replace").splitlines()
        if not strangers(folder) and not os.path.lexists(gone):
            durable.rename_new(folder, gone)
            durable.sync_path(os.path.dirname(folder) or ".")
            remove_own(gone)
        else:
            remove_own(folder)
        for made in reversed(above):
            if folder.startswith(f"{made}{os.sep}"):
                durable.remove_empty(made)
