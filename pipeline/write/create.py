"""Create the empty arrays of an output, and check before a run that this will work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pipeline.model.errors import RequestError
from pipeline.model.paths import check_name
from pipeline.storage import durable
from pipeline.storage.codec import compressor_of
from pipeline.write.layout import Layout
from pipeline.write.metadata import check_attributes, group_files, image_attributes
from pipeline.write.region import read_file

# What most file systems take; some cannot be asked.
_NAME_BYTES, _PATH_BYTES = 255, 4095


def check_layout(layout: Layout) -> None:
    """Raise RequestError if files of an output cannot be named, or its metadata not be written."""
    field = "output.background" if layout.holder else "output.path"
    _check_names(layout.path, field)
    if layout.work_root:
        _check_names(layout.work_root, "output.work")
    longest = max(len(os.fsencode(path)) for path in _longest_paths(layout))
    # PC_PATH_MAX counts the NUL at the end.
    most = _limit(layout.path, "PC_PATH_MAX", _PATH_BYTES + 1) - 1
    if longest > most:
        raise RequestError(
            f"{layout.path} is too deep: paths of its files have {longest} bytes, and the disk takes {most}",
            "choose another output, nearer to the root",
            field,
        )
    with durable.before_start():
        group_files(layout, "", image_attributes(layout))


def _check_names(path: str, field: str) -> None:
    check_name(path, field)
    most = _limit(path, "PC_NAME_MAX", _NAME_BYTES)
    for name in path.split("/"):
        if len(name.encode()) > most:
            raise RequestError(
                f"the name {name[:40]}… has {len(name.encode())} bytes, and the disk takes {most}",
                "give it a shorter name",
                field,
            )


def _longest_paths(layout: Layout) -> Iterator[str]:
    yield f"{layout.drafts}/{32 * '0'}"
    for level, array in enumerate(layout.levels):
        key = layout.chunk_key(level, tuple(count - 1 for count in array.grid))
        yield f"{layout.image}/{key}"
        yield f"{layout.path}/{key}"


def _limit(path: str, name: str, usual: int) -> int:
    """Ask the file system that `path` will be on for one of its limits."""
    folder = path
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return usual


def create(layout: Layout) -> None:
    """Make the work folder, with an empty array for each level, or complete it on resume.

    Raises
    ------
    RequestError
        The folder cannot be made, or NGFF cannot express the image's scale.
    """
    with durable.before_start():
        for output in layout.outputs:
            # Metadata that cannot be written is refused now, rather than after the last pixel.
            check_attributes(output, image_attributes(output))
        durable.make_folder(layout.drafts)
        for output in layout.outputs:
            for level in range(len(output.levels)):
                _create_array(output, level)


def _create_array(layout: Layout, level: int) -> None:
    folder = layout.array_path(level)
    durable.make_folder(folder)
    for name, data in array_metadata(layout, level).items():
        path = f"{folder}/{name}"
        if read_file(path) != data:
            durable.write_file(path, data, layout.drafts)
            durable.sync_all([path], layout.image)


def array_metadata(layout: Layout, level: int) -> dict[str, bytes]:
    """Return the metadata files of a level's array, by name, as zarr writes them."""
    import zarr
    from zarr.storage import MemoryStore

    array = layout.levels[level]
    files: dict[str, Any] = {}
    common: dict[str, Any] = {
        "store": MemoryStore(files),
        "shape": array.shape,
        "chunks": array.chunks,
        "dtype": layout.spec.dtype.newbyteorder("<"),
        "fill_value": 0,
    }
    if layout.version == "0.5":
        zarr.create_array(
            **common,
            shards=array.shards,
            compressors=_codecs(layout),
            dimension_names=list(layout.spec.axes),
            zarr_format=3,
        )
    else:
        common["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        zarr.create_array(**common, compressors=compressor_of(layout.compressor), zarr_format=2)
    return {name: buffer.to_bytes() for name, buffer in files.items() if name != ".zattrs"}


def _codecs(layout: Layout) -> list[dict[str, Any]]:
    """Return the compressor and the checksum as codecs of Zarr 3."""
    codecs: list[dict[str, Any]] = []
    if (codec := compressor_of(layout.compressor)) is not None:
        configuration = codec.get_config()
        name = configuration.pop("id")
        if name == "blosc":
            configuration |= {"shuffle": "bitshuffle", "typesize": layout.spec.dtype.itemsize}
        codecs.append({"name": name, "configuration": configuration})
    if layout.checksum:
        codecs.append({"name": "crc32c"})
    return codecs
