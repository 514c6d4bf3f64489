"""Chunks, shards, levels and regions: all of it without a disk."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.write.chunks import choose_chunks
from pipeline.write.layout import make_layout, work_path


def spec_of(axes, shape, dtype="uint16", chunks=()):
    return ImageSpec(axes, shape, np.dtype(dtype), chunks)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(spec_of("yx", (512, 512)), (512, 512), id="a plane that fits stays whole"),
        pytest.param(spec_of("tyx", (9, 1024, 1024)), (1, 1024, 1024), id="1024 px is still whole"),
        pytest.param(spec_of("tyx", (9, 2048, 2048)), (1, 1024, 1024), id="a larger one is cut evenly"),
        pytest.param(spec_of("yx", (1100, 3000)), (560, 1008), id="into parts of a multiple of 16"),
        pytest.param(spec_of("tzyx", (9, 40, 256, 256)), (1, 8, 256, 256), id="small planes share a chunk"),
        pytest.param(spec_of("tyx", (3, 64, 64)), (3, 64, 64), id="as far as there are any"),
        pytest.param(spec_of("tyx", (9, 2048, 2048), chunks=(1, 512, 512)), (1, 512, 512), id="the input's"),
        pytest.param(spec_of("tyx", (9, 2048, 2048), chunks=(1, 16, 2048)), (1, 1024, 1024), id="no strips"),
        pytest.param(spec_of("tyx", (9, 512, 512), chunks=(1, 64, 64)), (2, 512, 512), id="no crumbs"),
        pytest.param(
            spec_of("tcyx", (9, 3, 512, 512), chunks=(1, 3, 512, 512)),
            (2, 1, 512, 512),
            id="no mixed channels",
        ),
        pytest.param(spec_of("tyx", (9, 4096, 4096), chunks=(9, 4096, 4096)), (1, 1024, 1024), id="no lumps"),
    ],
)
def test_default_chunks(spec, expected):
    assert choose_chunks(spec) == expected


def test_requested_chunks_hold_for_the_axes_they_name_and_end_with_the_image():
    spec = spec_of("tyx", (5, 2048, 700))
    assert choose_chunks(spec, {"t": 2, "x": 1024}) == (2, 1024, 700)


@pytest.mark.parametrize(
    ("keywords", "field"),
    [
        ({"chunks": {"q": 5}}, "output.chunks.q"),
        ({"chunks": {"y": 0}}, "output.chunks.y"),
        ({"shards": {"c": 5}}, "output.shards.c"),
        ({"chunks": {"y": 100}, "shards": {"y": 250}}, "output.shards.y"),
        ({"version": "0.6"}, "output.version"),
        ({"version": "0.4", "shards": {"y": 1024}}, "output.shards"),
        ({"version": "0.4", "checksum": True}, "output.checksum"),
        ({"compressor": "lzma"}, "output.compressor"),
        ({"axes": "yx"}, "output.axes"),
        ({"axes": "xyt"}, "output.axes"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_field(keywords, field):
    with pytest.raises(RequestError) as caught:
        make_layout(spec_of("tyx", (5, 600, 600)), "/data/out.zarr", **keywords)
    assert [problem.field for problem in caught.value.problems] == [field]


@pytest.mark.parametrize("dtype", ["bool", "float16", "complex64"])
def test_dtypes_that_readers_trip_over_are_refused(dtype):
    with pytest.raises(RequestError, match=dtype):
        make_layout(spec_of("yx", (8, 8), dtype), "/data/out.zarr")


def test_levels_halve_y_and_x_until_both_are_at_most_512():
    layout = make_layout(spec_of("tzyx", (3, 7, 2049, 1500)), "/data/out.zarr")
    assert [level.shape for level in layout.levels] == [
        (3, 7, 2049, 1500), (3, 7, 1025, 750), (3, 7, 513, 375), (3, 7, 257, 188)
    ]  # fmt: skip
    assert layout.levels[3].factors == (1, 1, 8, 8)


def test_a_long_narrow_image_keeps_its_short_side():
    layout = make_layout(spec_of("yx", (40, 5000)), "/data/out.zarr")
    assert [level.shape for level in layout.levels] == [
        (40, 5000),
        (40, 2500),
        (40, 1250),
        (40, 625),
        (40, 313),
    ]


def test_a_small_image_or_pyramid_false_has_one_level():
    assert len(make_layout(spec_of("yx", (512, 512)), "/data/out.zarr").levels) == 1
    assert len(make_layout(spec_of("yx", (4096, 4096)), "/data/out.zarr", pyramid=False).levels) == 1


def test_padding_keeps_what_the_axes_mean():
    spec = ImageSpec("tyx", (4, 8, 9), np.dtype("uint8"), scale={"t": 30.0}, units={"t": "second"})
    layout = make_layout(spec, "/data/out.zarr", axes="tczyx")
    assert layout.spec.shape == (4, 1, 1, 8, 9)
    assert layout.axes == "tyx"
    assert layout.spec.units == {"t": "second"}
    assert layout.file_sizes == {"t": 4, "y": 8, "x": 9}


def test_a_layout_pickles():
    layout = make_layout(spec_of("tyx", (5, 600, 600)), "/data/out.zarr", shards={"y": 600})
    assert pickle.loads(pickle.dumps(layout)) == layout


def test_the_work_folder_lies_beside_the_output_or_where_it_is_told():
    assert work_path("/data/a.ome.zarr", "ab12") == "/data/a.ome.zarr.work-ab12"
    assert work_path("/data/a.ome.zarr", "ab12", "/scratch/") == "/scratch/a.ome.zarr.work-ab12"


SIZES = st.tuples(st.integers(1, 6), st.integers(1, 700), st.integers(1, 700))
PARTS = st.tuples(st.integers(1, 6), st.integers(40, 700), st.integers(40, 700))


@settings(deadline=None)
@given(shape=SIZES, chunks=PARTS, shards=st.booleans(), level=st.integers(0, 1))
def test_files_tile_a_level_without_gap_or_overlap(shape, chunks, shards, level):
    wanted = dict(zip("tyx", chunks, strict=True))
    double = {axis: 2 * min(px, size) for (axis, px), size in zip(wanted.items(), shape, strict=True)}
    layout = make_layout(
        spec_of("tyx", shape), "/data/out.zarr", chunks=wanted, shards=double if shards else None
    )
    level = min(level, len(layout.levels) - 1)
    count = np.zeros(layout.levels[level].shape, int)
    keys = set()
    for index, region in layout.file_regions(level):
        count[region] += 1
        keys.add(layout.chunk_key(level, index))
    assert (count == 1).all()
    assert len(keys) == np.prod(layout.levels[level].grid)


@settings(deadline=None)
@given(start=st.integers(0, 10), stop=st.integers(1, 10))
def test_only_regions_of_whole_files_are_cut_into_files(start, stop):
    layout = make_layout(spec_of("yx", (10, 10)), "/data/out.zarr", chunks={"y": 4})
    region = (slice(start, stop), slice(0, 10))
    if start in (0, 4, 8) and stop in (4, 8, 10) and start < stop:
        assert next(part[0] for _, part in layout.file_regions(0, region)).start == start
    else:
        with pytest.raises(ValueError, match="whole files"):
            list(layout.file_regions(0, region))
