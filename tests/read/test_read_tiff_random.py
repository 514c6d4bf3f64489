"""TIFF files damaged at random: pixels, or a refusal; never a traceback, a warning, or memory without end.

Where only the pixels' own bytes are spared, what is read is right or refused.
"""

import math
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_samples import coded
from tiff_samples import BYTES, IMAGES, write_page

from pipeline.model.errors import PipelineError
from pipeline.read import open_source

QUICK = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=6000, deadline=None, suppress_health_check=list(HealthCheck))
STACK = coded((4, 16, 24))
MOST, LARGEST = 32 << 20, 1 << 30
"""Bytes that Python may allocate for a file of some kilobytes, and beyond which none is read."""


def _options(**options):
    return lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", **options)


def _page(codec):
    compression, encode = {**BYTES, **IMAGES}[codec]
    image = (np.arange(256).reshape(16, 16) // 4 * 3).astype(np.uint8)
    parts = [encode(np.ascontiguousarray(image[at : at + 8])) for at in (0, 8)]
    return lambda path: write_page(path, parts, BitsPerSample=8, RowsPerStrip=8, Compression=compression)


FILES = {
    "plain": _options(metadata=None),
    "shaped": _options(metadata={"axes": "TYX"}),
    "big endian": _options(metadata=None, byteorder=">"),
    "bigtiff": _options(metadata={"axes": "TYX"}, bigtiff=True),
    "imagej": _options(imagej=True, metadata={"axes": "TYX", "finterval": 2.0}),
    "ome": _options(ome=True, metadata={"axes": "TYX"}),
    "ome compressed": _options(ome=True, compression="zlib", metadata={"axes": "TYX"}),
    "strips": _options(metadata=None, rowsperstrip=5),
    "predicted": _options(metadata=None, compression="lzw", predictor=True, rowsperstrip=5),
    "tiles": _options(metadata=None, compression="zlib", tile=(16, 16)),
    "raw tiles": _options(metadata=None, tile=(16, 16)),
    "12 bits": lambda path: write_page(path, bytes(16 * 24), BitsPerSample=12),
    **{codec: _page(codec) for codec in (*BYTES, *IMAGES)},
}


def _made():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        for name, write in FILES.items():
            write(path)
            yield name, path.read_bytes()


ORIGINALS = dict(_made())
INTERESTING = st.sampled_from(
    [0, 1, 2, 3, 5, 7, 8, 16, 32, 255, 4096, 32773, 34712, 50000, 65535, 1 << 31, 0xFFFFFFFF]
)
CODES = st.sampled_from([254, 256, 258, 270, 317, 322, 330, 339, 33628])
DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("tag"), st.floats(0, 1), INTERESTING),
        st.tuples(st.just("type"), st.floats(0, 1), st.integers(0, 20)),
        st.tuples(st.just("count"), st.floats(0, 1), INTERESTING),
        st.tuples(st.just("code"), st.floats(0, 1), CODES),
        st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
        st.tuples(st.just("zero"), st.floats(0, 1), st.integers(1, 40)),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


FIELDS = {"code": (0, "H"), "type": (2, "H"), "count": (4, "I"), "tag": (8, "I")}


def entries(data):
    """Return where the tags of the first page and those after it stand, in classic little-endian TIFF."""
    found, at, seen = [], struct.unpack_from("<I", data, 4)[0], set()
    while at and at + 2 <= len(data) and at not in seen:
        seen.add(at)
        (count,) = struct.unpack_from("<H", data, at)
        found += [at + 2 + 12 * number for number in range(count)]
        at = struct.unpack_from("<I", data, at + 2 + 12 * count)[0]
    return found


def damaged(data, damage):
    tags = entries(data) if data[:4] == b"II*\0" else []
    data = bytearray(data)
    for kind, where, value in damage:
        if kind in ("tag", "type", "count", "code"):
            offset, kind_of = FIELDS[kind]
            place = tags[int(where * (len(tags) - 1))] + offset if tags else 0
            if tags and place + 4 <= len(data):
                struct.pack_into("<" + kind_of, data, place, value)
        elif data:
            place = int(where * (len(data) - 1))
            if kind == "flip":
                data[place] ^= value
            elif kind == "zero":
                data[place : place + value] = bytes(len(data[place : place + value]))
            else:
                del data[place:]
    return bytes(data)


def check(name, damage):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / ("a.ome.tif" if name.startswith("ome") else "a.tif")
        path.write_bytes(damaged(ORIGINALS[name], damage))
        tracemalloc.start()
        allowed = MOST
        try:
            source = open_source(path)
            # A damaged size may say that a plane is large: then a part of it is.
            allowed += 3 * math.prod(source.spec.chunks) * source.spec.dtype.itemsize
            if allowed < LARGEST:
                pixels = source.read(tuple(slice(0, min(size, 40)) for size in source.spec.shape))
                assert pixels.dtype == source.spec.dtype
        except PipelineError:
            pass
        finally:
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert most < allowed


CASES = given(st.sampled_from(sorted(FILES)), DAMAGE)


@QUICK
@CASES
def test_a_damaged_file_gives_pixels_or_a_refusal(name, damage):
    check(name, damage)


@pytest.mark.slow
@pytest.mark.timeout(0)
@LONG
@CASES
def test_a_damaged_file_gives_pixels_or_a_refusal_in_thousands_of_cases(name, damage):
    check(name, damage)


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_is_not_damaged_is_read(name, tmp_path):
    path = tmp_path / ("a.ome.tif" if name.startswith("ome") else "a.tif")
    path.write_bytes(ORIGINALS[name])
    axes = "yx" if len(open_axes(path)) == 2 else "tyx"
    assert open_source(path, axes=axes).spec.shape[-2] == 16


def open_axes(path):
    try:
        return open_source(path).spec.axes
    except PipelineError:
        return "tyx"
