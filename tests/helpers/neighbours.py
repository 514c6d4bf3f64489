"""Files and folders of somebody else, where an output is to be."""

import os
from pathlib import Path

import numpy as np
import zarr


def everything(folder):
    """Return what a folder holds, links and empty folders too."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def plain_file(path):
    path.write_text("my thesis")


def folder_of_files(path):
    path.mkdir()
    (path / "cat.jpg").write_bytes(b"x")


def array(path, version=3):
    zarr.create_array(path, data=np.ones((2, 3), "u1"), zarr_format=version)


MULTISCALES = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]


def other_writers(path, version="0.5", separator="/"):
    """Write an OME-Zarr as another program does."""
    made = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    if version == "0.5":
        made.attrs["ome"] = {"version": "0.5", "multiscales": MULTISCALES}
        made.create_array("0", data=np.ones((4, 4), "u1"), chunks=(2, 2))
    else:
        made.attrs["multiscales"] = MULTISCALES
        keys = {"name": "v2", "separator": separator}
        made.create_array("0", data=np.ones((4, 4), "u1"), chunks=(2, 2), chunk_key_encoding=keys)


def put(name, data=b"x"):
    def change(path):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)

    return change
