"""Zarrs behind a URL: read as from a folder, with the same pixels; mistakes in one line."""

import gzip
import threading

import numpy as np
import pytest
import zarr

import pipeline
from pipeline.model.errors import DataError, RequestError
from pipeline.read import open_source
from pipeline.read.zarr import remote
from pipeline.reporting.serve import Server

pytest.importorskip("obstore", reason="the extra 'remote' is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a folder with an OME-Zarr that bgone wrote, a sharded array, and a TIFF by name."""
    folder = tmp_path_factory.mktemp("served")
    pixels = np.random.default_rng(0).integers(0, 4000, (3, 70, 90)).astype(np.uint16)
    zarr.create_array(folder / "in.zarr", data=pixels, chunks=(1, 32, 32), dimension_names=("t", "y", "x"))
    array = zarr.create_array(
        folder / "shards.zarr", shape=pixels.shape, chunks=(1, 32, 32), shards=(1, 64, 64), dtype="uint16",
        dimension_names=("t", "y", "x"),
    )  # fmt: skip
    array[...] = pixels
    pipeline.run(
        {
            "input": {"path": str(folder / "in.zarr"), "scale": {"t": "30 s", "y": "0.5 um", "x": "0.5 um"}},
            "steps": [{"gaussian": {"sigma": 1}}],
            "output": {"path": str(folder / "image.ome.zarr"), "chunks": {"y": 32, "x": 32}},
        }
    )
    (folder / "a.tif").write_bytes(b"II*\0")
    with Server(str(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, server.url
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["in.zarr", "shards.zarr", "image.ome.zarr"])
def test_a_url_holds_what_the_folder_holds(served, name):
    folder, url = served
    here, there = open_source(str(folder / name)), open_source(f"{url}/{name}")
    assert there.spec == here.spec
    for region in ((slice(0, 3), slice(0, 70), slice(0, 90)), (slice(1, 2), slice(30, 41), slice(60, 90))):
        np.testing.assert_array_equal(there.read(region), here.read(region))


def test_a_chunk_behind_a_url_that_becomes_more_is_refused_before_it_does(served):
    folder, url = served
    array = zarr.create_array(
        folder / "bomb.zarr", shape=(2, 32, 32), chunks=(1, 32, 32), dtype="uint16", fill_value=1,
        compressors=zarr.codecs.GzipCodec(), dimension_names=("t", "y", "x"),
    )  # fmt: skip
    array[...] = 5
    (folder / "bomb.zarr" / "c" / "1" / "0" / "0").write_bytes(gzip.compress(bytes(16 << 20)))
    with pytest.raises(DataError, match="chunk c/1/0/0: it decodes to more bytes"):
        open_source(f"{url}/bomb.zarr").read((slice(0, 2), slice(0, 32), slice(0, 32)))


def test_a_run_from_a_url_is_done_once(served, tmp_path):
    _, url = served
    config = {
        "input": {"path": f"{url}/image.ome.zarr"},
        "steps": [{"white_tophat": {"radius": 4}}],
        "output": {"path": str(tmp_path / "out.ome.zarr")},
    }
    assert not pipeline.run(config).already_complete
    assert pipeline.run(config).already_complete
    found = open_source(str(tmp_path / "out.ome.zarr"))
    whole = tuple(slice(0, size) for size in found.spec.shape)
    expected = pipeline.WhiteTophat(radius=4)(open_source(f"{url}/image.ome.zarr").read(whole), axes="tyx")
    np.testing.assert_array_equal(found.read(whole), expected)


@pytest.mark.parametrize(
    ("path", "words"),
    [("none.zarr", "there is no Zarr at"), ("a.tif", "there is no Zarr at")],
    ids=["nothing", "TIFF"],
)
def test_what_is_no_zarr_is_told_in_one_line(served, path, words):
    with pytest.raises(RequestError, match=words) as caught:
        open_source(f"{served[1]}/{path}")
    assert len(str(caught.value).splitlines()) == 1


def test_an_address_of_an_unknown_kind_is_refused():
    with pytest.raises(RequestError, match="gopher"):
        open_source("gopher://127.0.0.1/a.zarr")


def test_the_missing_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(remote, "import_module", missing)
    with pytest.raises(RequestError, match=r"bgone\[remote\]"):
        open_source("s3://bucket/a.zarr")


def test_the_etags_of_a_store_that_lists_are_part_of_what_an_input_is(monkeypatch):
    from obstore.store import MemoryStore
    from zarr.storage import ObjectStore

    store = MemoryStore()
    monkeypatch.setattr(remote, "url_storage", lambda url: ObjectStore(store))
    store.put("c/0", b"abc")
    before = remote.objects_of("s3://bucket/a.zarr")
    assert (before["files"], before["bytes"]) == (1, 3)
    assert remote.objects_of("s3://bucket/a.zarr") == before
    store.put("c/0", b"abd")
    assert remote.objects_of("s3://bucket/a.zarr") != before
    assert remote.objects_of("https://server/a.zarr") == {}
