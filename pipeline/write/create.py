"""Create the work folder, with the empty arrays of an output."""

from __future__ import annotations

from typing import Any

from pipeline.storage import durable
from pipeline.storage.codec import compressor_of
from pipeline.write.layout import Layout
from pipeline.write.metadata import image_attributes
from pipeline.write.region import read_file


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
            image_attributes(output)
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
