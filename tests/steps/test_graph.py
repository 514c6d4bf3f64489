"""Any cut of the work gives the whole array's result: through windows, and on Dask arrays."""

from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline import DifferenceOfGaussians, Gaussian, SubtractMinimum, SubtractOpening, WhiteTophat
from pipeline.model.errors import DataError
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Tiling
from pipeline.runtime.windows import window_tasks
from pipeline.steps.chain import ApplyChain, apply_step, chain_halo
from pipeline.steps.overlap import merge_chunks


@dataclass(frozen=True)
class ArraySource:
    """An array in memory as a source."""

    array: np.ndarray
    axes: str

    @property
    def spec(self):
        return ImageSpec(self.axes, self.array.shape, self.array.dtype)

    def read(self, region):
        return np.ascontiguousarray(self.array[region])


CHAINS = {
    "tophat": (WhiteTophat(radius=3),),
    "opening with negatives": (SubtractOpening(minimum_size=3, maximum_size=5),),
    "along t": (WhiteTophat(radius=1, along="t"),),
    "3-D": (WhiteTophat(radius=2, along="tyx"),),
    "two of rank": (WhiteTophat(radius=2), WhiteTophat(size=5)),
    "rank then linear": (WhiteTophat(radius=2), DifferenceOfGaussians(low_sigma=0.6, high_sigma=1.5)),
    "coarse grid": (DifferenceOfGaussians(low_sigma=1, high_sigma=30),),
}


def compute_window(source, steps, cuts, store, refuse_nan=False):
    """Compute a window, in an order that is always the same."""
    chain = ApplyChain(steps, source.spec.axes, cuts, refuse_nan)
    return window_tasks(source, chain, store).compute(scheduler="sync")


def nothing(region, before, after):
    """Store nothing."""


def resolved(chain, spec):
    steps = []
    for step in chain:
        steps.append(step.resolve(spec))
        spec = spec.with_(dtype=steps[-1].out_dtype(spec.dtype))
    return tuple(steps)


def whole(steps, array, axes):
    for step in steps:
        array = apply_step(step, array, axes, (0,) * array.ndim)
    return array


def assert_same(actual, expected, chain):
    assert actual.dtype == expected.dtype
    if expected.dtype.kind == "f":
        limit = 1e-6 * max(1, np.abs(expected).max())
        assert np.abs(actual - expected).max() <= limit
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_windows_of_blocks_give_the_whole_result(name, data):
    shape = tuple(
        data.draw(st.integers(low, high), label=axis)
        for axis, low, high in (("t", 3, 5), ("y", 9, 50), ("x", 9, 50))
    )
    array = np.random.default_rng(0).integers(0, 60000, shape, np.uint16)
    source = ArraySource(array, "tyx")
    steps = resolved(CHAINS[name], source.spec)
    halo = chain_halo(steps, "tyx")
    block = {
        axis: data.draw(st.integers(min(max(1, halo[axis]), size), size))
        for axis, size in source.spec.sizes.items()
    }
    window = {axis: px * data.draw(st.integers(1, 3)) for axis, px in block.items()}
    tiling = Tiling(source.spec.sizes, block, window, halo)
    expected = whole(steps, array, "tyx")
    actual = np.zeros_like(expected)

    def store(region, before, after):
        np.testing.assert_array_equal(before, array[region])
        actual[region] = after

    for index in range(tiling.windows):
        compute_window(source, steps, tiling.cuts(index), store)
    assert_same(actual, expected, name)


def test_a_coarse_grid_lies_in_blocks_where_it_lies_in_the_whole_image():
    array = np.random.default_rng(0).integers(0, 60000, (1, 173, 31), np.uint16)
    source = ArraySource(array, "tyx")
    steps = resolved((Gaussian(sigma=9),), source.spec)
    tiling = Tiling(
        source.spec.sizes, {"t": 1, "y": 53, "x": 31}, {"t": 1, "y": 106, "x": 31}, chain_halo(steps, "tyx")
    )
    expected = whole(steps, array, "tyx")
    actual = np.zeros_like(expected)

    def store(region, before, after):
        actual[region] = after

    assert sum(cut.count for window in range(tiling.windows) for cut in tiling.cuts(window)[1:2]) == 3
    for index in range(tiling.windows):
        compute_window(source, steps, tiling.cuts(index), store)
    assert_same(actual, expected, "coarse grid")


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_dask_array_of_any_chunks_gives_the_whole_result(name, data):
    array = np.random.default_rng(1).integers(0, 60000, (4, 40, 30), np.uint16)
    chunks = tuple(data.draw(st.integers(1, size)) for size in array.shape)
    lazy = da.from_array(array, chunks=chunks)
    expected = array
    for step in CHAINS[name]:
        lazy, expected = step(lazy, axes="tyx"), step(expected, axes="tyx")
    assert isinstance(lazy, da.Array)
    assert lazy.dtype == expected.dtype
    assert_same(lazy.compute(scheduler="sync"), expected, name)


def test_whole_planes_are_one_task_each_from_file_to_file():
    source = ArraySource(np.zeros((6, 20, 20), np.uint16), "tyx")
    steps = resolved(CHAINS["tophat"], source.spec)
    tiling = Tiling(
        source.spec.sizes, {"t": 1, "y": 20, "x": 20}, {"t": 6, "y": 20, "x": 20}, chain_halo(steps, "tyx")
    )
    cuts = tiling.cuts(0)
    tasks = window_tasks(source, ApplyChain(steps, "tyx", cuts), nothing)
    assert len(dict(da.optimize(tasks.__dask_graph__(), tasks.__dask_keys__()))) == 6


@pytest.mark.parametrize("block", [{"t": 1, "y": 20, "x": 20}, {"t": 1, "y": 10, "x": 20}])
def test_windows_that_are_computed_together_keep_their_own_pixels(block):
    array = np.random.default_rng(0).integers(0, 60000, (8, 20, 20), np.uint16)
    source = ArraySource(array, "tyx")
    steps = resolved(CHAINS["tophat"], source.spec)
    tiling = Tiling(source.spec.sizes, block, {"t": 2, "y": 20, "x": 20}, chain_halo(steps, "tyx"))
    actual = np.zeros_like(array)

    def store(region, before, after):
        actual[region] = after
        return region

    windows = [
        window_tasks(source, ApplyChain(steps, "tyx", tiling.cuts(number)), store)
        for number in [*range(tiling.windows), 0]  # the first one twice, as after a damaged file
    ]
    keys = [set(dict(window.__dask_graph__())) for window in windows]
    assert len(set().union(*keys)) == sum(map(len, keys))
    receipts = dask.compute(*windows, scheduler="threads")
    assert_same(actual, whole(steps, array, "tyx"), "tophat")
    assert [len({str(region) for region in each.reshape(-1)}) for each in receipts] == [
        each.size for each in receipts
    ]


@pytest.mark.parametrize("batch", [1, 3, 5, 100])
def test_a_task_may_do_several_blocks_and_gives_their_receipts_in_order(batch):
    source = ArraySource(np.zeros((5, 20, 20), np.uint16), "tyx")
    steps = resolved(CHAINS["tophat"], source.spec)
    sizes = {"t": 5, "y": 20, "x": 20}
    cuts = Tiling(sizes, {"t": 1, "y": 20, "x": 20}, sizes, chain_halo(steps, "tyx")).cuts(0)
    tasks = window_tasks(source, ApplyChain(steps, "tyx", cuts), lambda region, *_: region[0].start, batch)
    assert tasks.npartitions == -(-5 // batch)
    assert tasks.compute(scheduler="sync").tolist() == [0, 1, 2, 3, 4]


def test_the_store_gets_each_region_once_with_its_own_pixels():
    rows, columns = np.indices((40, 30))
    array = (rows * 100 + columns).astype(np.uint16)
    source = ArraySource(array, "yx")
    steps = resolved((SubtractMinimum(size=3),), source.spec)
    tiling = Tiling(source.spec.sizes, {"y": 10, "x": 7}, {"y": 20, "x": 30}, chain_halo(steps, "yx"))
    expected = whole(steps, array, "yx")
    seen = np.zeros(array.shape, int)

    def store(region, before, block):
        np.testing.assert_array_equal(block, expected[region])
        seen[region] += 1
        return region

    for index in range(tiling.windows):
        compute_window(source, steps, tiling.cuts(index), store)
    assert (seen == 1).all()


def test_a_nan_is_refused_with_its_place():
    array = np.zeros((2, 8, 8), np.float32)
    array[1, 3, 5] = np.nan
    source = ArraySource(array, "tyx")
    steps = resolved(CHAINS["tophat"], source.spec)
    cuts = Tiling(
        source.spec.sizes, {"t": 1, "y": 8, "x": 8}, {"t": 2, "y": 8, "x": 8}, chain_halo(steps, "tyx")
    ).cuts(0)
    with pytest.raises(DataError, match="t 1, y 3, x 5"):
        compute_window(source, steps, cuts, nothing, refuse_nan=True)
    compute_window(source, steps, cuts, nothing)


def test_chunks_smaller_than_the_halo_are_merged_visibly():
    lazy = da.zeros((20, 20), chunks=(4, 20), dtype=np.uint16)
    assert WhiteTophat(radius=3)(lazy).chunks == ((8, 12), (20,))
    assert merge_chunks((2, 2), 100) == (4,)
    assert merge_chunks((6, 6, 6), 6) == (6, 6, 6)


def test_an_image_stays_an_image():
    image = pipeline.Image(
        da.zeros((2, 9, 9), chunks=(1, 9, 9), dtype=np.int16), ImageSpec("tyx", (2, 9, 9), np.dtype("int16"))
    )
    flat = WhiteTophat(radius=2)(image)
    assert isinstance(flat, pipeline.Image)
    assert (flat.dtype, flat.axes, flat.data.dtype) == (np.uint16, "tyx", np.uint16)
