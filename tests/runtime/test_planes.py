"""Figures of planes are what NumPy gives on the sampled rows, however the plane was cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.runtime.planes import EVERY_COLUMN, EVERY_ROW, merge, plane_sums


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_parts_of_planes_add_up_to_the_planes(data):
    shape = (2, 3, data.draw(st.integers(1, 100)), data.draw(st.integers(1, 40)))
    rng = np.random.default_rng(0)
    before = rng.integers(0, 60000, shape, np.uint16)
    after = before.astype(np.int32) - rng.integers(0, 60000, shape)
    steps = [data.draw(st.integers(1, size)) for size in shape]
    parts = []
    for start in np.ndindex(*(-(-size // step) for size, step in zip(shape, steps, strict=True))):
        region = tuple(
            slice(at * step, min(at * step + step, size))
            for at, step, size in zip(start, steps, shape, strict=True)
        )
        parts += plane_sums(region, before[region], after[region], clipped=0)
    merged = merge(parts)
    assert [part.plane for part in merged] == list(np.ndindex(2, 3))
    for part in merged:
        rows = (*part.plane, slice(0, None, EVERY_ROW), slice(0, None, EVERY_COLUMN))
        sample = after[rows].astype(np.float64)
        assert part.pixels == sample.size
        assert part.before == before[rows].sum()
        assert (part.after, part.squares) == (sample.sum(), (sample**2).sum())
        assert (part.least, part.most, part.clipped) == (sample.min(), sample.max(), 0)


def test_a_block_between_the_sampled_rows_says_nothing():
    block = np.ones((5, 4))
    assert plane_sums((slice(1, 6), slice(0, 4)), block, block, 0) == ()


def test_clipped_pixels_of_several_planes_at_once_belong_to_none():
    block = np.ones((2, 5, 4))
    region = (slice(0, 2), slice(0, 5), slice(0, 4))
    assert [part.clipped for part in plane_sums(region, None, block, 3)] == [None, None]
    assert [part.clipped for part in plane_sums((slice(1, 2), *region[1:]), None, block[:1], 3)] == [3]
