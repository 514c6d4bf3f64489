"""What reading takes beside its pixels: never more than was said, for every format, chunk and selection."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_cases import BALL, DOG, IN_TIME, TOPHAT, Case, write_input

from pipeline.config.load import load_config
from pipeline.model.errors import RequestError
from pipeline.planning.memory import DRIVER, KERNELS
from pipeline.planning.plan import make_plan
from pipeline.read import open_source
from pipeline.read.content import content_of

SHAPE = (2, 8, 256, 512)
READ = {
    "a chunk that is read whole": Case(SHAPE, "tzyx", [], chunks=(1, 1, 256, 512)),
    "tiles": Case(SHAPE, "tzyx", [], chunks=(1, 1, 64, 64)),
    "all planes of a stack in one chunk": Case(SHAPE, "tzyx", [], chunks=(1, 8, 256, 512)),
    "frames of both times in one chunk": Case(SHAPE, "tzyx", [], chunks=(2, 8, 256, 512)),
    "a plane of it": Case(SHAPE, "tzyx", [], chunks=(1, 8, 256, 512), select={"z": [3]}),
    "a corner of it": Case(SHAPE, "tzyx", [], chunks=(1, 8, 256, 512), select={"y": "0:9", "x": "200:220"}),
    "every third plane": Case(SHAPE, "tzyx", [], chunks=(1, 8, 256, 512), select={"z": "::3"}),
    "some planes": Case(SHAPE, "tzyx", [], chunks=(1, 8, 256, 512), select={"z": [0, 1, 6]}),
    "every other pixel": Case(SHAPE, "tzyx", [], chunks=(1, 1, 256, 512), select={"y": "::2", "x": "::2"}),
    "zstd": Case(SHAPE, "tzyx", [], codec="zstd", chunks=(1, 4, 256, 512)),
    "gzip": Case(SHAPE, "tzyx", [], codec="gzip", chunks=(1, 4, 256, 512)),
    "with checksums": Case(SHAPE, "tzyx", [], codec="crc", chunks=(1, 4, 256, 512)),
    "as it is": Case(SHAPE, "tzyx", [], codec="raw", chunks=(1, 4, 256, 512)),
    "Zarr 2": Case(SHAPE, "tzyx", [], codec="v2", chunks=(1, 4, 256, 512)),
    "Fortran's order": Case(SHAPE, "tzyx", [], codec="fortran", chunks=(1, 4, 256, 512)),
    "Fortran's order, large chunks": Case(SHAPE, "tzyx", [], codec="fortran", chunks=(2, 8, 256, 512)),
    "the other byte order": Case(SHAPE, "tzyx", [], dtype=">u2", codec="v2", chunks=(1, 4, 256, 512)),
    "bool": Case(SHAPE, "tzyx", [], dtype="bool", chunks=(1, 4, 256, 512)),
    "float16": Case(SHAPE, "tzyx", [], dtype="float16", chunks=(1, 4, 256, 512)),
    "axes the other way round": Case((256, 512, 8, 2), "yxzt", [], chunks=(256, 512, 4, 1)),
    "TIFF, raw": Case(SHAPE, "tzyx", [], tiff={}),
    "TIFF, part of raw": Case(SHAPE, "tzyx", [], tiff={}, select={"x": "0:300"}),
    "TIFF, strips": Case(SHAPE, "tzyx", [], tiff={"rowsperstrip": 16, "compression": "zlib"}),
    "TIFF, one strip": Case(SHAPE, "tzyx", [], tiff={"rowsperstrip": 256, "compression": "zlib"}),
    "TIFF, tiles": Case(SHAPE, "tzyx", [], tiff={"tile": (64, 64), "compression": "zlib"}),
    "TIFF, one tile": Case(SHAPE, "tzyx", [], tiff={"tile": (256, 512), "compression": "lzw"}),
    "TIFF, tiles, raw": Case(SHAPE, "tzyx", [], tiff={"tile": (64, 64)}),
    "TIFF, a corner of strips": Case(
        SHAPE, "tzyx", [], tiff={"rowsperstrip": 256, "compression": "zlib"}, select={"y": "0:4", "x": "0:4"}
    ),
}  # fmt: skip


def opened(folder, case):
    said = {} if case.tiff is not None else {"axes": case.axes}
    return open_source(write_input(folder, case), select=case.select or None, **said)


def took(call):
    """Return the most bytes of NumPy and of Python that a call held, its result included."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def boxes(sizes):
    """Yield regions: all of it, single planes, and parts that begin anywhere."""
    yield tuple(slice(0, size) for size in sizes)
    yield (*(slice(size - 1, size) for size in sizes[:-2]), *(slice(0, size) for size in sizes[-2:]))
    yield tuple(slice(size // 3, size // 3 + max(1, size // 2)) for size in sizes)
    yield tuple(slice(size // 2, size // 2 + 1) for size in sizes)


@pytest.mark.parametrize("name", READ)
def test_reading_takes_no_more_than_was_said(name, tmp_path):
    source = opened(tmp_path, READ[name])
    first = tuple(slice(0, 1) for _ in source.spec.shape)
    source.read(first)  # what is kept for the next time is not its pixels'
    for region in boxes(source.spec.shape):
        shape = tuple(part.stop - part.start for part in region)
        said = math.prod(shape) * source.spec.dtype.itemsize + source.bytes_beside(shape)
        assert took(lambda region=region: source.read(region)) <= said + 64 * 1024, region


def test_many_chunks_of_a_region_are_decoded_one_after_the_other(tmp_path):
    # zarr-python, which reads Fortran's order, decodes 4 MiB at once, in some four copies.
    for codec, most in (("blosc", 1.8), ("zstd", 1.8), ("fortran", 2.5)):
        case = Case((64, 256, 512), "tyx", [], codec=codec, chunks=(8, 256, 512))
        folder = tmp_path / codec
        folder.mkdir()
        source = opened(folder, case)
        source.read((slice(0, 1), slice(0, 1), slice(0, 1)))
        region = tuple(slice(0, size) for size in case.shape)
        pixels = 64 * 256 * 512 * 2
        assert took(lambda source=source, region=region: source.read(region)) < most * pixels


def test_rows_of_a_huge_raw_plane_are_read_a_few_at_a_time(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4096, 4096), "uint16"))
    source = open_source(tmp_path / "a.tif", axes="yx")
    region = (slice(0, 4096), slice(0, 2048))
    assert took(lambda: source.read(region)) <= 4096 * 2048 * 2 + (5 << 20)
    assert source.bytes_beside((4096, 2048)) <= 5 << 20
    np.testing.assert_array_equal(source.read(region), 1)


def divisors(px):
    return st.sampled_from([n for n in range(1, px + 1) if px % n == 0])


@st.composite
def planned(draw):
    """Draw an image as it is stored, what is selected of it, and a chain with what a run may use."""
    axes = draw(st.sampled_from(["yx", "tyx", "zyx", "tzyx", "tcyx"]))
    sizes = {"t": st.integers(1, 40), "c": st.integers(1, 3), "z": st.integers(1, 40)}
    shape = tuple(draw(sizes.get(axis, st.integers(40, 6000))) for axis in axes)
    chunks = tuple(draw(st.integers(1, 2 * size)) for size in shape)
    select = {}
    for axis, size in zip(axes, shape, strict=True):
        kind = draw(st.sampled_from(["all", "all", "part", "thinned", "list"]))
        start = draw(st.integers(0, size - 1))
        if kind == "part":
            stop = draw(st.integers(start + 1, size))
            select[axis] = f"{start}:{stop}"
        elif kind == "thinned":
            select[axis] = f"{start}::{draw(st.integers(2, 5))}"
        elif kind == "list":
            select[axis] = sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=5)))
    steps = draw(st.sampled_from([[TOPHAT], [DOG], [TOPHAT, DOG], [BALL], [IN_TIME]]))
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    compute = {"workers": draw(st.integers(1, 9)), "memory": f"{draw(st.integers(300, 4000))} MiB"}
    return axes, shape, chunks, select, steps, dtype, compute


def least_of_reading(chunks, source, shape, item):
    """Return the bytes that any reader holds: the pixels, and a whole chunk; counted index by index."""
    kept = dict(zip(source.stored, source.picks, strict=True))
    assert set(kept) == set(range(len(chunks)))
    return math.prod(shape) * item + math.prod(chunks) * item


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(planned())
def test_no_plan_predicts_less_than_its_pixels_take(tmp_path_factory, drawn):
    axes, shape, chunks, select, steps, dtype, compute = drawn
    path = tmp_path_factory.mktemp("input") / "in.zarr"
    zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype)
    source = open_source(path, axes=axes, select=select)
    config = load_config(
        {"input": {"path": str(path)}, "steps": steps, "output": {"path": "out.zarr"},
         "compute": {"cluster": "threads", **compute}}
    )  # fmt: skip
    try:
        found = make_plan(config, source.spec, 2, 1 << 30, reading=source.bytes_beside)
    except RequestError:
        return  # the chain does not fit the image, or the image the memory
    item = np.dtype(dtype).itemsize
    blocks = [cut.reads for cut in found.tiling.cuts(0)]
    read = max(itertools.product(*blocks), key=lambda box: math.prod(stop - start for start, stop in box))
    pixels = math.prod(stop - start for start, stop in read)
    # Whatever is cut, a chunk is decoded whole beside what is wanted of it, unless that is all of it.
    whole = math.prod(chunks) * item if math.prod(chunks) > math.prod(found.tiling.block.values()) else 0
    given_item = found.workload.chain.dtype.itemsize
    least = max(pixels * item + whole, pixels * (item + given_item))
    assert found.memory.predicted <= found.resources.memory
    assert found.memory.predicted >= DRIVER + KERNELS + found.memory.tasks * least


def test_looking_at_what_files_hold_takes_little_memory(tmp_path):
    (tmp_path / "a").write_bytes(bytes(40 << 20))
    assert took(lambda: content_of([(str(tmp_path / "a"), 40 << 20)])) < 4 << 20
    assert content_of([(str(tmp_path / "a"), 40 << 20)])["whole"]
