"""Print, as JSON, what another OME-Zarr reader finds in an image; run by the Python of its environment.

    python foreign_reader.py ome-zarr|napari-ome-zarr|tensorstore ADDRESS

Uses neither bgone nor the libraries of the tests, which are not installed there.
"""

import hashlib
import json
import sys

import numpy as np


def digest(pixels):
    """Return shape, dtype and a digest of pixels."""
    pixels = np.asarray(pixels)
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return [list(pixels.shape), pixels.dtype.name, hashlib.sha256(stored.tobytes()).hexdigest()]


def hexadecimal(color):
    return "".join(f"{round(255 * value):02X}" for value in color[:3])


def with_ome_zarr(address):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(address)
    (node,) = Reader(location)()
    attributes = node.metadata
    transforms = [
        {item["type"]: item[item["type"]] for item in level}
        for level in attributes["coordinateTransformations"]
    ]
    return {
        "axes": [axis["name"] for axis in attributes["axes"]],
        "kinds": [axis["type"] for axis in attributes["axes"]],
        "units": [axis.get("unit") for axis in attributes["axes"]],
        "name": attributes["name"],
        "scales": [level["scale"] for level in transforms],
        "translations": [level.get("translation") for level in transforms],
        "channels": attributes.get("channel_names"),
        "colors": [hexadecimal(color[-1]) for color in attributes.get("colormap", [])],
        "limits": attributes.get("contrast_limits"),
        "levels": [digest(level) for level in node.data],
    }


def with_napari(address):
    from napari_ome_zarr import napari_get_reader

    ((data, options, kind),) = napari_get_reader(address)(address)
    names, colormaps = options.get("name"), options.get("colormap")
    return {
        "kind": kind,
        "axes": list(options["axis_labels"]),
        "units": list(options["units"]),
        "scale": [float(size) for size in options["scale"]],
        "channel_axis": options.get("channel_axis"),
        "names": names if isinstance(names, list) else [names],
        "colors": [
            hexadecimal(colormap.colors[-1])
            for colormap in (colormaps if isinstance(colormaps, list) else [colormaps])
            if colormap is not None
        ],
        "limits": options.get("contrast_limits"),
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
