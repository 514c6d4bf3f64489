"""Complete the image in the work folder: manifest, provenance and, last, its NGFF metadata."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.model.errors import StoppedError
from pipeline.storage import durable
from pipeline.storage.codec import crc32c
from pipeline.write.create import array_metadata
from pipeline.write.layout import Layout
from pipeline.write.manifest import MANIFEST, manifest_parts
from pipeline.write.metadata import BGONE, ContrastLimits, check_attributes, group_files, image_attributes
from pipeline.write.own import SEALED, write_note
from pipeline.write.region import ChunkRecord


class Contents(NamedTuple):
    """Files, provenance and contrast limits of an output to be sealed."""

    records: Iterable[ChunkRecord]
    provenance: Mapping[str, Any]
    limits: Sequence[ContrastLimits] | None = None


def seal(
    layout: Layout,
    records: Iterable[ChunkRecord],
    provenance: Mapping[str, Any],
    *,
    limits: Sequence[ContrastLimits] | None = None,
    files: Mapping[str, bytes] | None = None,
    background: Contents | None = None,
) -> None:
    """Complete the image in the work folder, and before it that of the background.

    Parameters
    ----------
    layout : Layout
    records : iterable of ChunkRecord
        One for each file of each level, in any order; read once.
    provenance : mapping
        How the output was made, as JSON; `fingerprint` and `run`, a new id, are added.
    limits : sequence of ContrastLimits, optional
        Contrast of each channel.
    files : mapping of str to bytes, optional
        Further files to put beside the manifest, by name: a report.
    background : Contents, optional
        The same for the background, if the layout has one.

    Raises
    ------
    StoppedError
        Some file was never written; nothing is sealed then.
    """
    if (layout.background is None) != (background is None):
        raise ValueError("a background is sealed with its output, and only with it")
    run = uuid.uuid4().hex
    if layout.background is not None and background is not None:
        _complete_image(layout.background, background, run, {})
    _complete_image(layout, Contents(records, provenance, limits), run, files or {})
    write_note(layout, SEALED, run.encode())


def _complete_image(layout: Layout, contents: Contents, run: str, files: Mapping[str, bytes]) -> None:
    durable.make_folder(f"{layout.image}/{BGONE}")
    records = itertools.chain(_checked(layout, contents.records), _array_files(layout))
    durable.write_file(f"{layout.image}/{MANIFEST}", manifest_parts(records), layout.drafts)
    attributes = {BGONE: {**contents.provenance, "fingerprint": layout.fingerprint, "run": run}}
    inner = {f"{BGONE}/{name}": data for name, data in files.items()}
    inner |= group_files(layout, BGONE, attributes)
    # Readers see an image once its root metadata is there: flushed after all else.
    ngff = image_attributes(layout, contents.limits)
    check_attributes(layout, ngff)
    root = group_files(layout, "", ngff)
    for batch in (inner, root):
        for name, data in batch.items():
            durable.write_file(f"{layout.image}/{name}", data, layout.drafts)
        durable.sync_all([f"{layout.image}/{name}" for name in [MANIFEST, *batch]], layout.image)


def _checked(layout: Layout, records: Iterable[ChunkRecord]) -> Iterator[ChunkRecord]:
    """Yield the records; raise StoppedError unless each file of the pyramid has exactly one."""
    recorded = [np.zeros(level.grid, bool) for level in layout.levels]
    for record in records:
        parts = record.key.split("/")
        level, index = int(parts[0]), tuple(map(int, parts[-len(layout.spec.axes) :]))
        if recorded[level][index]:
            raise StoppedError(f"{record.key} was journalled twice", "run again with --overwrite")
        recorded[level][index] = True
        yield record
    for level, done in enumerate(recorded):
        if not done.all():
            missing = np.argwhere(~done)
            first = layout.chunk_key(level, tuple(missing[0].tolist()))
            raise StoppedError(
                f"{len(missing)} of {done.size} files of level {level} were never written, {first} the first",
                "the same command writes them",
            )


def _array_files(layout: Layout) -> Iterator[ChunkRecord]:
    """Yield records of the arrays' metadata files: a changed bit there changes every pixel."""
    for level in range(len(layout.levels)):
        for name, data in array_metadata(layout, level).items():
            yield ChunkRecord(f"{level}/{name}", len(data), crc32c(data))
