"""Metadata and chunk files harmed at random: right pixels with the right scale, or a refusal in words.

The quick tests try some of it; `pytest -m slow` thousands. Arrays are tiny, their pixels say where they are.
"""

import copy
import json
import math
import resource
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_samples import coded, whole
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from pipeline.model.errors import PipelineError
from pipeline.read import open_source

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=4000)
MORE_MEMORY = 400 << 10
"""KiB that reading all of it may add to the process."""

SIZES = {"t": 2, "c": 3, "z": 2, "y": 4, "x": 5}
KINDS = {"t": "time", "c": "channel"}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
NUMBERS = [0, -1, 1e308, 1e-320, math.nan, math.inf, -math.inf, 10**400, 2**63, -(2**63), 0.5, 3]
OTHERS = [
    None,
    True,
    "",
    "0",
    "y",
    "../0",
    "1",
    "µm",
    [],
    {},
    [[]],
    [1.0],
    {"a": 1},
    "\ud800",
    "x" * 300,
    ["t"],
]


@st.composite
def images(draw):
    """Draw the attributes of a valid image of any version, and its axes."""
    version = draw(st.sampled_from(["0.1", "0.2", "0.3", "0.4", "0.5"]))
    old = version in ("0.1", "0.2")
    axes = (
        "tczyx" if old else draw(st.sampled_from(["yx", "tyx", "zyx", "cyx", "tcyx", "tzyx", "tczyx", "xyt"]))
    )
    size = st.floats(0.01, 100) | st.integers(1, 9)
    entry = {"name": draw(st.text(max_size=3)), "datasets": [{"path": str(level)} for level in range(2)]}
    if not old:
        entry["axes"] = [
            {"name": axis, "type": KINDS.get(axis, "space")}
            | ({"unit": UNITS[axis]} if axis in UNITS and draw(st.booleans()) else {})
            for axis in axes
        ]
    if version == "0.3":
        entry["axes"] = list(axes)
    if version in ("0.4", "0.5"):
        for dataset in entry["datasets"]:
            dataset["coordinateTransformations"] = [
                {"type": "scale", "scale": [draw(size) for _ in axes]},
                {"type": "translation", "translation": [draw(st.floats(-50, 50)) for _ in axes]},
            ]
        if draw(st.booleans()):
            entry["coordinateTransformations"] = [{"type": "scale", "scale": [draw(size) for _ in axes]}]
    attributes = {"multiscales": [entry]}
    if "c" in axes and draw(st.booleans()):
        attributes["omero"] = {"channels": [{"label": f"c{n}", "color": "00FF00"} for n in range(SIZES["c"])]}
    if version == "0.5":
        attributes["version"] = version
        return {"ome": attributes}, axes
    entry["version"] = version
    return attributes, axes


def places(value, path=()):
    """Return the paths of all that is in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, inner in inside for place in places(inner, (*path, key))]


def harm(draw, value):
    """Change something in a JSON value: drop it, double it, or put something else in its place."""
    path = draw(st.sampled_from(places(value)))
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    key, way = path[-1], draw(st.sampled_from(["drop", "double", "number", "other", "rename"]))
    if way == "drop":
        del parent[key]
    elif way == "double":
        if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            parent[f"{key} "] = parent[key]
    elif way == "rename" and isinstance(parent, dict):
        parent[key.upper()] = parent.pop(key)
    else:
        # A copy, since what stands in its place may be harmed next.
        parent[key] = copy.deepcopy(draw(st.sampled_from(NUMBERS if way == "number" else OTHERS)))


def write(folder, attributes, axes, zarr_format, separator="."):
    """Write an image of two levels as JSON and bytes, without anybody's help."""
    shape = [SIZES[axis] for axis in axes]
    folder.mkdir()
    if zarr_format == 3:
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(group))
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
    for level in range(2):
        array = folder / str(level)
        pixels = coded(shape) + np.uint16(1000 * level)
        if zarr_format == 3:
            chunk = array.joinpath("c", *"0" * len(shape))
            metadata = {
                "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint16",
                "fill_value": 0,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
                "chunk_key_encoding": {"name": "default"}, "attributes": {},
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            }  # fmt: skip
        else:
            chunk = array / separator.join("0" * len(shape))
            metadata = {
                "zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "<u2", "fill_value": 0,
                "order": "C", "compressor": None, "filters": None, "dimension_separator": separator,
            }  # fmt: skip
        chunk.parent.mkdir(parents=True)
        chunk.write_bytes(pixels.tobytes())
        (array / ("zarr.json" if zarr_format == 3 else ".zarray")).write_text(json.dumps(metadata))


def opened(path, **options):
    """Return a source with all its pixels, or None where it is refused in words; no warning either way."""
    found, problems = None, ()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            source = open_source(path, **options)
            source.identity(), source.missing(), source.not_carried
            found = source, whole(source)
        except PipelineError as error:
            problems = error.problems
    assert not said, [str(warning.message) for warning in said]
    assert all(problem.message and problem.hint and "\n" not in str(problem) for problem in problems), (
        problems
    )
    return found


def sums(entry, letters):
    """Return the scale of level 0 by axis, by plain arithmetic; None where the metadata is not plain."""
    dataset, product = entry["datasets"][0], np.ones(len(letters))
    for holder in (dataset if isinstance(dataset, dict) else {}, entry):
        for transform in holder.get("coordinateTransformations") or ():
            if not isinstance(transform, dict) or transform.get("type") not in ("scale", "translation"):
                return None
            if transform["type"] == "scale":
                numbers = transform.get("scale")
                if not isinstance(numbers, list) or len(numbers) != len(letters):
                    return None
                # What stands for channels means nothing.
                numbers = [1 if letter == "c" else n for n, letter in zip(numbers, letters, strict=True)]
                if not all(type(number) in (int, float) for number in numbers):
                    return None
                with np.errstate(all="ignore"):
                    product *= [min(max(number, -1e309), 1e309) for number in numbers]
    return dict(zip(letters, product.tolist(), strict=True))


def check(source, pixels, attributes, axes):
    """Compare what is read with what the metadata, as harmed, says."""
    ome = attributes.get("ome")
    inner = ome if isinstance(ome, dict) and "multiscales" in ome else attributes
    entry = inner["multiscales"]
    entry = entry[0] if isinstance(entry, list) else entry
    dataset = entry["datasets"][0]
    path = (dataset["path"] if isinstance(dataset, dict) else dataset).strip("/")
    stored = coded([SIZES[axis] for axis in axes]) + np.uint16(1000 * int(path))
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in entry.get("axes") or "tczyx"]
    if not all(isinstance(name, str) and name.lower() in tuple("tczyx") for name in names):
        return
    letters = "".join(names).lower()
    ordered = "".join(sorted(letters, key="tczyx".index))
    assert source.spec.axes == ordered
    np.testing.assert_array_equal(pixels, stored.transpose([letters.index(axis) for axis in ordered]))
    expected = sums(entry, letters)
    assert expected is not None, "what cannot be understood is refused"
    for axis in ordered.replace("c", ""):
        size = source.spec.scale.get(axis)
        if size is None:
            assert expected[axis] in (0, 1), "no size where there is one"
        else:
            assert size == pytest.approx(expected[axis], rel=1e-12)


def try_metadata(data):
    """Harm the attributes of an image, and read it."""
    attributes, axes = data.draw(images())
    for _ in range(data.draw(st.integers(0, 3))):
        if places(attributes):
            harm(data.draw, attributes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        write(path, attributes, axes, data.draw(st.sampled_from([2, 3])), data.draw(st.sampled_from("./")))
        found = opened(path)
        if found is not None:
            check(*found, attributes, axes)
        opened(path, level=1)
        opened(path / "0", axes=axes)


def try_array(data):
    """Harm the metadata of an array, and compare with what zarr-python makes of it."""
    axes = data.draw(st.sampled_from(["tyx", "zyx"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        zarr_format = data.draw(st.sampled_from([2, 3]))
        write(path, {}, axes, zarr_format)
        file = path / "0" / ("zarr.json" if zarr_format == 3 else ".zarray")
        metadata = json.loads(file.read_text())
        for _ in range(data.draw(st.integers(1, 2))):
            harm(data.draw, metadata)
        file.write_text(json.dumps(metadata))
        found = opened(path / "0", axes=axes)
        if found is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = zarr.open_array(path / "0", mode="r")[...]
            np.testing.assert_array_equal(found[1], expected)


CODECS = {
    "none": None, "blosc": BloscCodec(), "zstd": ZstdCodec(), "gzip": GzipCodec(),
    "checksum": [ZstdCodec(), Crc32cCodec()],
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Arrays of every codec, with and without shards."""
    made = {}
    for name, compressors in CODECS.items():
        for shards in (None, (2, 8, 8)):
            path = tmp_path_factory.mktemp("stored") / "a.zarr"
            array = zarr.create_array(
                path, shape=(2, 8, 8), chunks=(1, 4, 8), shards=shards, dtype="u2", compressors=compressors
            )
            array[...] = np.random.default_rng(0).integers(0, 9, (2, 8, 8))
            made[name, shards is not None] = path
    return made


def try_file(data, stored):
    """Harm the bytes of one file of chunks, and compare with what zarr-python makes of it."""
    original = stored[data.draw(st.sampled_from(sorted(stored)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        shutil.copytree(original, path)
        file = data.draw(st.sampled_from(sorted(each for each in (path / "c").rglob("*") if each.is_file())))
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, max(0, len(content) - 1)))
            way = data.draw(st.sampled_from(["flip", "cut", "number", "insert", "double"]))
            if way == "flip" and content:
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            elif way == "number":
                content[at : at + 8] = data.draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
            else:
                content = {
                    "cut": content[:at], "insert": content[:at] + b"\xff" * 9 + content[at:],
                    "double": content + content, "flip": content,
                }[way]  # fmt: skip
        file.write_bytes(content)
        found = opened(path, axes="tyx")
        if found is not None:
            np.testing.assert_array_equal(found[1], zarr.open_array(path, mode="r")[...])


@pytest.fixture
def bounded():
    """Look afterwards at how much the process has grown."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MEMORY


@QUICK
@given(data=st.data())
def test_harmed_attributes(bounded, data):
    try_metadata(data)


@QUICK
@given(data=st.data())
def test_harmed_metadata_of_arrays(bounded, data):
    try_array(data)


@QUICK
@given(data=st.data())
def test_harmed_files_of_chunks(bounded, stored, data):
    try_file(data, stored)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("attempt", [try_metadata, try_array])
@LONG
@given(data=st.data())
def test_thousands_of_harmed_metadata(bounded, attempt, data):
    attempt(data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@LONG
@given(data=st.data())
def test_thousands_of_harmed_files(bounded, stored, data):
    try_file(data, stored)
