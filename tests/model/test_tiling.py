"""Windows and blocks cover an image once, and each block reads its halo."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.tiling import Tiling, cut_axis, spans


@st.composite
def tilings(draw):
    size = draw(st.integers(1, 60))
    halo = draw(st.integers(0, 20))
    block = draw(st.integers(max(1, halo), 70))
    window = block * draw(st.integers(1, 5))
    return Tiling({"x": size}, {"x": block}, {"x": window}, {"x": halo})


@settings(deadline=None)
@given(tilings())
def test_every_pixel_is_kept_once_and_read_with_its_whole_halo(tiling):
    size, halo = tiling.sizes["x"], tiling.halo["x"]
    kept = np.zeros(size, int)
    for window in range(tiling.windows):
        (cut,) = tiling.cuts(window)
        for index, (begin, end) in enumerate(cut.reads):
            start, stop = cut.edges[index], cut.edges[index + 1]
            kept[start:stop] += 1
            assert begin == max(0, start - halo)
            assert end == min(size, stop + halo)
    assert (kept == 1).all()


@settings(deadline=None)
@given(tilings())
def test_chunks_of_a_window_are_never_shorter_than_the_depth_of_the_overlap(tiling):
    for cut in tiling.axis_windows("x"):
        assert sum(cut.chunks) == cut.end - cut.begin
        if cut.count > 1:
            assert min(cut.chunks) >= tiling.halo["x"]


@settings(deadline=None)
@given(tilings())
def test_overhead_is_pixels_read_over_pixels_kept(tiling):
    cuts = [tiling.cuts(window)[0] for window in range(tiling.windows)]
    read = sum(end - begin for cut in cuts for begin, end in cut.reads)
    assert tiling.overhead == read / tiling.sizes["x"]
    assert tiling.blocks == sum(cut.count for cut in cuts)


def test_windows_are_numbered_with_the_last_axis_fastest():
    tiling = Tiling({"t": 4, "x": 10}, {"t": 1, "x": 5}, {"t": 2, "x": 5}, {"t": 0, "x": 0})
    firsts = [tuple(cut.edges[0] for cut in tiling.cuts(window)) for window in range(tiling.windows)]
    assert firsts == [(0, 0), (0, 5), (2, 0), (2, 5)]


def test_a_short_rest_joins_the_block_before_it():
    assert cut_axis(100, 0, 100, block=30, halo=20).edges == (0, 30, 60, 100)
    assert spans(0, 5, 10) == (0, 5)


@settings(deadline=None)
@given(tilings(), st.integers(1, 30))
def test_chunk_reads_are_counted_as_a_store_would_see_them(tiling, px):
    count = -(-tiling.sizes["x"] // px)
    seen = np.zeros(count, int)
    for window in range(tiling.windows):
        (cut,) = tiling.cuts(window)
        edges = np.cumsum([cut.begin, *cut.chunks])
        for begin, end in itertools.pairwise(edges):
            seen[begin // px : -(-end // px)] += 1
    assert tiling.chunk_reads({"x": px}) == seen.sum() / count
