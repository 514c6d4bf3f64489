"""Foreign files and folders at the path of an output."""

import os
from pathlib import Path

import numpy as np
import zarr


def everything(folder):
    """Return the content of a folder by path, with links and empty folders."""
    content = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            content[name] = os.readlink(path)
        else:
            content[name] = path.read_bytes() if path.is_file() else None
    return content


def plain_file(path):
    path.write_text("my thesis")


def folder_of_files(path):
    path.mkdir()
    (path / "cat.jpg").write_bytes(b"x")


def array(path, version=3):
    zarr.create_array(path, data=np.ones((2, 3), "u1"), zarr_format=version)


MULTISCALES = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]


def other_writers(path, version="0.5", separator="/"):
    """Write an OME-Zarr as other programs do."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": MULTISCALES}
        group.create_array("0", data=np.ones((4, 4), "u1"), chunks=(2, 2))
    else:
        group.attrs["multiscales"] = MULTISCALES
        keys = {"name": "v2", "separator": separator}
        group.create_array("0", data=np.ones((4, 4), "u1"), chunks=(2, 2), chunk_key_encoding=keys)


def put(name, data=b"x"):
    def change(path):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)

    return change
