"""OME-TIFF of random layouts, damaged at random: right pixels, or a refusal; never those of another plane.

Planes lie anywhere in one to three files, which name each other by file name, UUID or both. Each plane
says in its pixels which it is, so a plane that is taken for another names itself.
"""

import itertools
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_samples import ome, plane, stub, tiff_data, uuid_of, write_pages

from pipeline.model.errors import PipelineError
from pipeline.read import open_source

QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
ORDERS = ["".join(("XY", *rest)) for rest in itertools.permutations("ZCT")]


def number_of(t, c, z):
    return 4 * t + 2 * c + z


@st.composite
def layouts(draw):
    """Draw sizes of images, where each of their planes lies, and in which words the XML says it."""
    sizes = draw(st.lists(st.tuples(*[st.integers(1, 2)] * 3), min_size=1, max_size=3))
    planes = [(i, *at) for i, size in enumerate(sizes) for at in itertools.product(*map(range, size))]
    files = draw(st.integers(1, min(3, len(planes))))
    order = draw(st.permutations(planes))
    homes = [*range(files), *(draw(st.integers(0, files - 1)) for _ in range(len(planes) - files))]
    return {
        "sizes": sizes,
        "planes": list(zip(order, homes, strict=True)),
        "files": files,
        "order": draw(st.sampled_from(ORDERS)),
        "says": draw(st.sampled_from(["name", "uuid", "both"] + ["nothing"] * (files == 1))),
        "roots": draw(st.booleans()),
        "xml": draw(st.sampled_from(["each", "companion", "first"])),
        "given": draw(st.integers(0, files - 1)),
    }


DAMAGE = [
    "lose a file", "rename the file", "lose a block", "double a block", "no names", "no uuids", "full paths",
    "upwards", "one uuid", "one root", "shuffled",
]  # fmt: skip


def name_of(file):
    return f"f{file}.ome.tif"


def blocks_of(layout, image, damage):
    """Return the TiffData of an image; damage may take words away, and never puts a plane elsewhere."""
    pages = dict.fromkeys(range(layout["files"]), 0)
    found = []
    for (of_image, t, c, z), file in layout["planes"]:
        ifd, pages[file] = pages[file], pages[file] + 1
        if of_image != image:
            continue
        name = name_of(file) if layout["says"] in ("name", "both") else None
        uuid = uuid_of(file) if layout["says"] in ("uuid", "both") else None
        if "no names" in damage and layout["says"] == "both" and len(found) % 2:
            name = None
        if "no uuids" in damage and layout["says"] == "both" and name:
            uuid = None
        if "one uuid" in damage and uuid and name:
            uuid = uuid_of(7)
        if "full paths" in damage and name:
            name = f"/home/ann/{name}"
        if "upwards" in damage and name and t:
            name = f"../{name}"
        found.append(tiff_data(ifd, 1, name, uuid, T=t, C=c, Z=z))
    if "double a block" in damage:
        found.append(found[0])
    if "lose a block" in damage:
        del found[0]
    return "".join(reversed(found) if "shuffled" in damage else found)


def pixels_of(layout, image, damage):
    t, c, z = layout["sizes"][image]
    return (
        f'<Pixels DimensionOrder="{layout["order"]}" Type="uint16" SizeT="{t}" SizeC="{c}" SizeZ="{z}" '
        f'SizeY="6" SizeX="8">{blocks_of(layout, image, damage)}</Pixels>'
    )


def write(folder, layout, damage, change=lambda xml: xml):
    """Write the files of a layout, damaged, and return the one to open."""
    images = [pixels_of(layout, image, damage) for image in range(len(layout["sizes"]))]
    for file in range(layout["files"]):
        root = uuid_of(0 if "one root" in damage else file) if layout["roots"] else None
        full = change(ome(*images, uuid=root))
        if layout["xml"] == "companion":
            xml = stub("m.companion.ome", root)
            (folder / "m.companion.ome").write_text(change(ome(*images)))
        else:
            xml = full if layout["xml"] == "each" or file == 0 else stub(name_of(0), root)
        inside = [plane(i, number_of(*at)) for (i, *at), home in layout["planes"] if home == file]
        write_pages(folder / name_of(file), inside, xml)
    path = folder / name_of(layout["given"])
    if "lose a file" in damage and layout["files"] > 1:
        (folder / name_of((layout["given"] + 1) % layout["files"])).unlink()
    if "rename the file" in damage:
        path = path.rename(folder / "renamed.ome.tif")
    return path


def check(layout, damage):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), layout, damage)
        for image, size in enumerate(layout["sizes"]):
            try:
                source = open_source(path, series=image)
            except PipelineError:
                # A file that only a UUID names, or nothing in a companion, may not be found.
                assert damage or layout["says"] in ("uuid", "nothing"), "nothing is wrong with it"
                continue
            pixels = source.read(tuple(slice(0, side) for side in source.spec.shape))
            expected = [plane(image, number_of(*at)) for at in itertools.product(*map(range, size))]
            np.testing.assert_array_equal(pixels, np.reshape(expected, pixels.shape))


LAYOUTS = given(layouts(), st.lists(st.sampled_from(DAMAGE), max_size=3, unique=True))


@QUICK
@LAYOUTS
def test_a_plane_is_never_taken_for_another(layout, damage):
    check(layout, damage)


@pytest.mark.slow
@pytest.mark.timeout(0)
@LONG
@LAYOUTS
def test_a_plane_is_never_taken_for_another_in_thousands_of_layouts(layout, damage):
    check(layout, damage)


WORDS = st.sampled_from([
    "", "0", "-1", "1", "2", "7", "1e9", "99999999999", "9" * 400, "x", "NaN", "INF", "-0.0", "0,5", "µm",
    "s", "V", "XYZTC", "f0.ome.tif", "f1.ome.tif", "../f0.ome.tif", "/", "..", ".", "C:", "\\", "uint8",
    "é\u2028", "&#10;", uuid_of(0), uuid_of(1),
])  # fmt: skip
NAMES = st.sampled_from([
    "PhysicalSizeX", "PhysicalSizeXUnit", "PhysicalSizeZ", "TimeIncrement", "TimeIncrementUnit", "SizeT",
    "SizeC", "SizeX", "Type", "Name", "DimensionOrder", "IFD", "PlaneCount", "NumPlanes", "FirstT", "FirstC",
    "FileName", "UUID", "SamplesPerPixel", "Color", "DeltaT", "TheT",
])  # fmt: skip
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, WORDS),
        st.tuples(st.just("add"), NAMES, WORDS),
        st.tuples(st.just("drop"), NAMES, st.just("")),
        st.tuples(st.sampled_from(["byte", "cut", "double", "lose"]), st.floats(0, 1), st.text(max_size=3)),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def changed(xml, changes):
    """Return a text of XML with attributes set, added or dropped, elements doubled or lost, bytes changed."""
    for kind, where, word in changes:
        if kind in ("set", "drop"):
            new = f' {where}="{word}"' if kind == "set" else ""
            xml = re.sub(rf' {where}="[^"]*"', new.replace("\\", r"\\"), xml)
        elif kind == "add":
            added = f' {where}="{word}"'.replace("\\", r"\\")
            xml = re.sub(r"<(Pixels|TiffData|Channel)", rf"<\1{added}", xml, count=2)
        elif kind in ("double", "lose"):
            elements = re.findall(r"<TiffData.*?</TiffData>|<Image.*?</Image>", xml, re.DOTALL) or [""]
            chosen = elements[int(where * (len(elements) - 1))]
            xml = xml.replace(chosen, chosen * 2 if kind == "double" else "", 1) if chosen else xml
        else:
            at = int(where * len(xml))
            xml = xml[:at] + ("" if kind == "cut" else word + xml[at + 1 :])
    return xml


def check_changed(layout, changes):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write(Path(folder), layout, (), lambda xml: changed(xml, changes))
        known = {plane(image, number_of(*at)).tobytes() for (image, *at), _ in layout["planes"]}
        for image in range(len(layout["sizes"])):
            try:
                source = open_source(path, series=image)
                pixels = source.read(tuple(slice(0, side) for side in source.spec.shape))
            except PipelineError:
                continue
            assert {page.tobytes() for page in pixels.reshape(-1, 6, 8)} <= known


CHANGED = given(layouts(), CHANGES)


@QUICK
@CHANGED
def test_damaged_xml_gives_whole_planes_or_a_refusal(layout, changes):
    check_changed(layout, changes)


@pytest.mark.slow
@pytest.mark.timeout(0)
@LONG
@CHANGED
def test_damaged_xml_gives_whole_planes_or_a_refusal_in_thousands_of_cases(layout, changes):
    check_changed(layout, changes)
