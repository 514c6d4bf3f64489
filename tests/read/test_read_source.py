"""What every source keeps to: it pickles small, it serves threads and processes, it knows its files."""

import json
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from read_samples import check_pixels, coded, whole, write_frames, write_ngff, write_tiff

import pipeline.read.tiff.handles as tiff_files
from pipeline.read import lazy_array, open_image, open_source
from pipeline.read.content import content_of

FRAMES = coded((90, 24, 30))
SCALE = [[{"type": "scale", "scale": [1.0, 0.5, 0.5]}]]
ARTICLE = Path(__file__).parents[3] / "shared" / "data" / "MAX_Lund_18.0_22.0_Hours Z-projection t1.tif"


def read_all(source):
    return whole(source)


def make(folder, kind):
    if kind == "zarr":
        return write_ngff(folder / "a.zarr", [FRAMES], "tyx", SCALE)
    if kind == "sharded":
        options = {"chunks": (1, 8, 10), "shards": (10, 24, 30), "dimension_names": list("tyx")}
        zarr.create_array(folder / "a.zarr", shape=FRAMES.shape, dtype="u2", **options)[...] = FRAMES
        return folder / "a.zarr"
    packing = {"compression": "zlib"} if "packed" in kind else {}
    if "folder" in kind:
        return write_frames(folder / "in", FRAMES, **packing)
    metadata = {"axes": "TYX"}
    return write_tiff(
        folder / "a.tif", FRAMES, ome="ome" in kind, metadata=metadata, photometric="minisblack", **packing
    )


KINDS = ["zarr", "sharded", "raw tiff", "packed tiff", "packed ome", "raw folder", "packed folder"]


@pytest.fixture(scope="module", params=KINDS)
def source(request, tmp_path_factory):
    return open_source(make(tmp_path_factory.mktemp("source"), request.param))


def test_it_pickles_small_and_reads_on(source):
    data = pickle.dumps(source)
    assert len(data) < 1500
    copy = pickle.loads(data)
    assert (copy.spec, copy.picks, copy.identity()) == (source.spec, source.picks, source.identity())
    check_pixels(copy, FRAMES)


def test_many_threads_read_what_one_reads(source):
    generator = np.random.default_rng(5)
    regions = []
    for _ in range(40):
        start = [int(generator.integers(0, size - 1)) for size in FRAMES.shape]
        stop = [
            int(generator.integers(at + 1, size + 1)) for at, size in zip(start, FRAMES.shape, strict=True)
        ]
        regions.append(tuple(map(slice, start, stop)))
    with ThreadPoolExecutor(8) as pool:
        for region, block in zip(regions, pool.map(source.read, regions), strict=True):
            np.testing.assert_array_equal(block, FRAMES[region])


@pytest.fixture(scope="module")
def spawned():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_a_spawned_process_reads_what_this_one_reads(source, spawned):
    np.testing.assert_array_equal(spawned.submit(read_all, source).result(), FRAMES)


def test_regions_outside_are_an_error(source):
    for region in (np.s_[0:91, 0:1, 0:1], np.s_[0:1, 0:1], np.s_[-1:1, 0:1, 0:1], np.s_[0:4:2, 0:1, 0:1]):
        with pytest.raises(IndexError):
            source.read(region)


def test_an_empty_region_is_empty(source):
    assert source.read(np.s_[3:3, 0:5, 0:5]).shape == (0, 5, 5)


def test_what_is_read_may_be_written_to(source):
    source.read(np.s_[0:1, 0:5, 0:5])[...] = 7
    np.testing.assert_array_equal(source.read(np.s_[0:1, 0:5, 0:5]), FRAMES[:1, :5, :5])


def test_the_identity_is_plain_and_follows_the_files(source):
    identity = source.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert source.identity() == identity
    files = [Path(path) for path in source.files()]
    assert all(path.exists() and path.is_absolute() for path in files)
    changed = (
        files[0] if files[0].is_file() else next(path for path in files[0].rglob("c/**/*") if path.is_file())
    )
    status = changed.stat()
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    assert source.identity() != identity
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.identity() == identity


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return str(path), size


@pytest.mark.parametrize("at", [0, -1], ids=["first byte", "last byte"])
@pytest.mark.parametrize("whole", [True, False], ids=["small", "large"])
def test_what_files_hold_is_seen_at_both_ends(tmp_path, at, whole):
    """Where all of it would take too long, a sample is read; it holds the first byte and the last."""
    path, size = sparse(tmp_path / "a", (1 if whole else 80) << 20)
    before = content_of([(path, size)])
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(b"x")
    after = content_of([(path, size)])
    assert after["content"] != before["content"]
    assert after["whole"] is whole


def test_of_many_small_files_the_last_ones_are_seen(tmp_path, monkeypatch):
    """A piece is longer than each of them."""
    monkeypatch.setattr("pipeline.read.content.WHOLE_BYTES", 10_000)
    files = [sparse(tmp_path / f"{number:03d}", 700) for number in range(100)]
    monkeypatch.setattr("pipeline.read.content.PIECE_BYTES", 1_000)
    monkeypatch.setattr("pipeline.read.content.PIECES", 8)
    before = content_of(files)
    for number in (0, 1, 98, 99):
        (tmp_path / f"{number:03d}").write_bytes(b"x" * 700)
        after = content_of(files)
        assert after != before, number
        before = after


def test_a_lazy_array_has_the_chunks_asked_for(source):
    chunks = ((40, 50), (24,), (7, 23))
    array = lazy_array(source, chunks)
    assert (array.chunks, array.dtype) == (chunks, np.uint16)
    np.testing.assert_array_equal(array[35:45, ::2, 3].compute(), FRAMES[35:45, ::2, 3])
    with pytest.raises(ValueError, match="do not add up"):
        lazy_array(source, ((40, 51), (24,), (7, 23)))


def test_a_lazy_image_has_the_stored_chunks(source):
    image = open_image(source.path)
    assert image.data.chunksize == source.spec.chunks
    np.testing.assert_array_equal(image.data.compute(), FRAMES)


def test_chunks_of_a_selection_do_not_share_stored_ones(tmp_path):
    path = make(tmp_path, "zarr")
    image = open_image(path, select={"t": [0, 5], "y": "3:20"})
    assert image.data.chunks == ((1, 1), (5, 8, 4), (8, 8, 8, 6))
    np.testing.assert_array_equal(image.data.compute(), FRAMES[[0, 5], 3:20])


def test_a_forked_process_reads_what_this_one_reads(tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    source = open_source(make(tmp_path, "packed tiff"))
    whole(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for block in pool.map(read_all, [source] * 4):
                np.testing.assert_array_equal(block, FRAMES)


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_files, "MOST_OPEN", 5)
    source = open_source(make(tmp_path, "packed folder"))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(source.read, [(slice(t, t + 1), slice(0, 24), slice(0, 30)) for t in range(90)] * 3))
    assert len(tiff_files._open_files) == 5
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 15


def test_a_store_of_many_files_pickles_small(tmp_path):
    """Ten thousand names cost some kilobytes, and each process unpacks them once."""
    source = open_source(make(tmp_path, "packed folder"))
    store = source.store
    many = 10_000
    names = tuple(f"/data/embryo/frame_{index:05d}.tif" for index in range(many))
    planes = np.resize(store.planes, many)
    planes["file"] = np.arange(many)
    large = type(store)(names, planes, (many, 24, 30), store.dtype, store.chunks)
    data = pickle.dumps(large)
    assert len(data) < 8_000
    copy = pickle.loads(data)
    assert copy.paths == names
    np.testing.assert_array_equal(copy.planes, planes)
    assert pickle.loads(data) is copy


def test_tifffile_still_logs_for_others(tmp_path, caplog):
    path = write_tiff(
        tmp_path / "a.tif", FRAMES[:5], compression="zlib", photometric="minisblack", contiguous=False
    )
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(Exception, match="truncated"):
        open_source(path)
    assert not caplog.records
    with tifffile.TiffFile(path) as tiff:
        len(tiff.pages)
    assert caplog.records


@pytest.mark.skipif(not ARTICLE.is_file(), reason="the article's frame is not here")
def test_the_frame_of_the_article():
    source = open_source(ARTICLE)
    assert (source.spec.axes, source.spec.shape, source.spec.dtype) == ("yx", (1024, 512), np.uint16)
    assert source.spec.scale == pytest.approx({"y": 0.6934, "x": 0.6934})
    check_pixels(source, tifffile.imread(ARTICLE))
