"""Hints lead on: whoever does what a refusal says comes to an image, in few steps and not in a circle."""

import os
import re

import numpy as np
import pytest
import tifffile
import zarr
from read_samples import coded, write_frames, write_ngff, write_tiff

from pipeline.model.errors import RequestError
from pipeline.read import open_source

MOVIE = coded((4, 6, 8))
UNIT = [[{"type": "scale", "scale": [1.0, 1.0, 1.0]}]]


def several(path):
    """Write an OME-TIFF of two images."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for frames in (3, 4):
            tiff.write(MOVIE[:frames], photometric="minisblack", metadata={"axes": "TYX"})


def folder_of_several(path):
    path.mkdir()
    for number in range(3):
        several(path / f"f{number}.ome.tif")


def names(path, *files):
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path / name, MOVIE[0])


def stacks(path, *lengths, **options):
    path.mkdir()
    for number, frames in enumerate(lengths):
        tifffile.imwrite(path / f"m{number}.tif", np.resize(MOVIE, (frames, 6, 8)), **options)


def collection(path):
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    for name in ("0", "1"):
        write_ngff(path / name, [MOVIE], "tyx", UNIT)
    return group


def plate(path):
    wells = {"columns": [{"name": "1"}], "rows": [{"name": "A"}]}
    ome = {"plate": {**wells, "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]}, "version": "0.5"}
    zarr.create_group(path, attributes={"ome": ome})
    zarr.create_group(path / "A")
    well = {"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}
    zarr.create_group(path / "A" / "1", attributes={"ome": well})
    for name in ("0", "1"):
        write_ngff(path / "A" / "1" / name, [MOVIE], "tyx", UNIT)


def plain_group(path):
    zarr.create_group(path).create_array("raw/t0", data=MOVIE)


def ome_parts(path):
    """Write one OME-TIFF in two files that are numbered by its axes."""
    path.mkdir()
    files = [f"x_c{c}_t0.ome.tif" for c in range(2)]
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{c}</UUID>'
        "</TiffData>"
        for c, name in enumerate(files)
    )
    for c, name in enumerate(files):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{c}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            'Type="uint16" SizeX="8" SizeY="6" SizeZ="1" SizeC="2" SizeT="1">'
            '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f'<Channel ID="Channel:0:1" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
        )
        tifffile.imwrite(path / name, MOVIE[c], description=xml, metadata=None)


def ngff(name):
    return lambda path: write_ngff(path / name, [MOVIE], "tyx", UNIT)


def grid(*sizes, name="in/{}_{}.tif"):
    """Return what writes files that count several things."""
    return lambda path: names(path, *(name.format(*at) for at in np.ndindex(*sizes)))


IMAGEJ = {"imagej": True, "metadata": {"axes": "TYX"}}
PLAIN = {"photometric": "minisblack"}
# What is made, what is asked for below it, with which options, and in how many steps it opens at the most.
REFUSED = {
    "several images": (lambda p: several(p / "a.ome.tif"), "a.ome.tif", {}, 1),
    "no such image": (lambda p: several(p / "a.ome.tif"), "a.ome.tif", {"series": 7}, 1),
    "no such level": (lambda p: several(p / "a.ome.tif"), "a.ome.tif", {"series": 1, "level": 3}, 1),
    "folder, several images": (lambda p: folder_of_several(p / "in"), "in", {}, 2),
    "folder, series": (lambda p: folder_of_several(p / "in"), "in", {"series": 1}, 3),
    "folder, level": (lambda p: write_frames(p / "in", MOVIE), "in", {"level": 1}, 1),
    "folder, level and series": (lambda p: write_frames(p / "in", MOVIE), "in", {"level": 1, "series": 0}, 2),
    "one OME-TIFF": (lambda p: ome_parts(p / "in"), "in", {}, 1),
    "one OME-TIFF, a glob": (lambda p: ome_parts(p / "in"), "in/*.tif", {}, 1),
    "positions": (grid(2, 2, name="Pos{}/img_{}.tif"), "P*/*.tif", {}, 1),
    "places": (lambda p: names(p, "in/Pos0.tif", "in/Pos1.tif"), "in", {}, 1),
    "two counted": (grid(3, 2, name="in/t{}_c{}.tif"), "in", {}, 1),
    "three counted": (grid(3, 2, 2, name="in/{}_{}_{}.tif"), "in", {}, 1),
    "t and z together": (lambda p: names(p, "in/t0_z4.tif", "in/t1_z5.tif"), "in", {}, 1),
    "two series": (
        lambda p: names(p, *(f"in/t{i}{end}.tif" for i in range(3) for end in ("", "_mask"))), "in", {}, 1,
    ),
    "a stray": (lambda p: names(p, "in/dark.tif", "in/t0.tif", "in/t1.tif"), "in", {}, 1),
    "wells by letter": (lambda p: names(p, "in/A1.tif", "in/B1.tif"), "in", {}, 1),
    "movies": (lambda p: stacks(p / "in", 4, 4, **IMAGEJ), "in", {}, 1),
    "plain stacks": (lambda p: stacks(p / "in", 4, 4, **PLAIN), "in", {}, 1),
    "parts": (lambda p: stacks(p / "in", 4, 4, 2, **PLAIN), "in", {}, 1),
    "parts, first short": (lambda p: stacks(p / "in", 1, 4, **PLAIN), "in", {}, 1),
    "no axes": (lambda p: write_tiff(p / "a.tif", MOVIE, **PLAIN), "a.tif", {}, 1),
    "wrong axes": (
        lambda p: write_tiff(p / "a.tif", coded((4, 40, 40)), **PLAIN), "a.tif", {"axes": "yxt"}, 1,
    ),
    "misspelt": (lambda p: write_tiff(p / "embryo.tif", MOVIE[0]), "enbryo.tif", {}, 1),
    "a file of a Zarr": (ngff("a.zarr"), "a.zarr/zarr.json", {}, 1),
    "a collection": (lambda p: collection(p / "a.zarr"), "a.zarr", {}, 1),
    "a collection, no such image": (lambda p: collection(p / "a.zarr"), "a.zarr", {"series": 5}, 1),
    "a plate": (lambda p: plate(p / "a.zarr"), "a.zarr", {}, 1),
    "a well": (lambda p: plate(p / "a.zarr"), "a.zarr/A/1", {}, 1),
    "a group": (lambda p: plain_group(p / "a.zarr"), "a.zarr", {}, 2),
    "an array, series": (ngff("a.zarr"), "a.zarr/0", {"series": 2, "axes": "tyx"}, 1),
    "no such level of a Zarr": (ngff("a.zarr"), "a.zarr", {"level": 2}, 1),
    "folders of Zarrs": (ngff("in/a.zarr"), "in", {}, 1),
    "a glob of Zarrs": (ngff("in/a.zarr"), "in/*.zarr", {}, 1),
    "folders of frames": (lambda p: write_frames(p / "in", MOVIE), ".", {}, 1),
}  # fmt: skip

STATED = (
    (r"did you mean '([^']+)'", "near"),
    (r"leave it out$", "less"),
    (r"such as '([^']+)'", "path"),
    (r"(?:one of them|the folder it is in|with input\.series)[:,] '([^']+)'", "path"),
    (r"such as (/[^ ,]+)", "path"),
    (r"input\.axes:? ([tczyx]+)|; write ([tczyx]+)", "axes"),
    (r"input\.series", "series"),
    (r"(?:its levels are|it has) ", "first"),
)
"""What hints say, in the order in which it is looked for."""


def follow(error, path, options):
    """Do what a hint says: return the path and the options that come next."""
    (problem,) = error.problems
    options = dict(options)
    said = {}
    for pattern, message in STATED:
        match = re.search(pattern, f"; {problem.hint}")
        if match:
            said.setdefault(message, next((group for group in match.groups() if group), ""))
    field = problem.field.removeprefix("input.")
    if "less" in said:
        del options[field]
    elif "path" in said:
        path = said["path"]
        if "with input.series" in problem.hint:
            options["series"] = 0
    elif "near" in said:
        path = os.path.join(os.path.dirname(path), said["near"])
    elif "axes" in said:
        options["axes"] = said["axes"]
    elif "series" in said or ("first" in said and field in ("series", "level")):
        options[field] = 0
    else:
        pytest.fail(f"nobody can follow: {error}")
    return path, options


def refused(path, options):
    """Return why an image is refused, or None where it opens."""
    try:
        open_source(path, **options)
    except RequestError as error:
        return error
    return None


@pytest.mark.parametrize("case", REFUSED)
def test_hints_lead_on(tmp_path, case):
    make, asked, options, most = REFUSED[case]
    make(tmp_path)
    path, seen = os.path.normpath(tmp_path / asked), []
    while (error := refused(path, options)) is not None:
        seen.append((path, options))
        path, options = follow(error, path, options)
        assert (path, options) not in seen, f"in a circle: {error}"
        assert len(seen) <= most, f"{len(seen)} steps, then: {error}"
    assert seen, "this was to be refused first"
