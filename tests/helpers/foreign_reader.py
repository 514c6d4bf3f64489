"""Run by the Python of another environment: prints, as JSON, what a reader there makes of an OME-Zarr.

    python foreign_reader.py ome-zarr|napari-ome-zarr|tensorstore ADDRESS

bgone and the tests' own libraries are not there.
"""

import hashlib
import json
import sys

import numpy as np


def digest(pixels):
    """Return what says whether pixels are equal: shape, dtype, and a digest of them."""
    pixels = np.asarray(pixels)
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return [list(pixels.shape), pixels.dtype.name, hashlib.sha256(stored.tobytes()).hexdigest()]


def hexadecimal(color):
    return "".join(f"{round(255 * part):02X}" for part in color[:3])


def with_ome_zarr(address):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(address)
    (node,) = Reader(location)()
    said = node.metadata
    transforms = [
        {each["type"]: each[each["type"]] for each in level} for level in said["coordinateTransformations"]
    ]
    return {
        "axes": [axis["name"] for axis in said["axes"]],
        "kinds": [axis["type"] for axis in said["axes"]],
        "units": [axis.get("unit") for axis in said["axes"]],
        "name": said["name"],
        "scales": [level["scale"] for level in transforms],
        "translations": [level.get("translation") for level in transforms],
        "channels": said.get("channel_names"),
        "colors": [hexadecimal(color[-1]) for color in said.get("colormap", [])],
        "limits": said.get("contrast_limits"),
        "levels": [digest(level) for level in node.data],
    }


def with_napari(address):
    from napari_ome_zarr import napari_get_reader

    ((data, said, kind),) = napari_get_reader(address)(address)
    names, colormaps = said.get("name"), said.get("colormap")
    return {
        "kind": kind,
        "axes": list(said["axis_labels"]),
        "units": list(said["units"]),
        "scale": [float(each) for each in said["scale"]],
        "channel_axis": said.get("channel_axis"),
        "names": names if isinstance(names, list) else [names],
        "colors": [
            hexadecimal(each.colors[-1])
            for each in (colormaps if isinstance(colormaps, list) else [colormaps])
            if each is not None
        ],
        "limits": said.get("contrast_limits"),
        "levels": [digest(level) for level in data],
    }


def with_tensorstore(address):
    import tensorstore

    def opened(level, driver):
        kvstore = {"driver": "file", "path": f"{address}/{level}/"}
        if "://" in address:
            kvstore = f"{address}/{level}/"
        return tensorstore.open({"driver": driver, "kvstore": kvstore}, open=True, read=True).result()

    def driver():
        for name in ("zarr3", "zarr"):
            try:
                opened(0, name)
            except ValueError:
                continue
            return name
        raise ValueError(f"{address} is no Zarr")

    name, levels = driver(), []
    while True:
        try:
            levels.append(opened(len(levels), name))
        except ValueError:
            break
    return {
        "driver": name,
        "axes": list(levels[0].domain.labels),
        "chunks": list(levels[0].chunk_layout.read_chunk.shape),
        "files": list(levels[0].chunk_layout.write_chunk.shape),
        "levels": [digest(level.read().result()) for level in levels],
    }


READERS = {"ome-zarr": with_ome_zarr, "napari-ome-zarr": with_napari, "tensorstore": with_tensorstore}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](sys.argv[2])))
