"""Zarrs behind a URL, in object stores and on web servers, through obstore (the extra `remote`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zarr.abc.store import RangeByteRequest
from zarr.abc.store import Store as Storage
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from pipeline.model.errors import RequestError
from pipeline.read.content import digest_sum, text_digest
from pipeline.read.files import FIELD
from pipeline.storage.files import Blob, blob_of


def url_storage(url: str) -> Storage:
    """Return a read-only zarr store for a URL.

    Raises
    ------
    RequestError
        The extra `remote` is not installed, or obstore does not know this kind of URL.
    """
    try:
        from zarr.storage import ObjectStore

        from_url = import_module("obstore.store").from_url
    except ImportError:
        raise RequestError(
            f"{url!r} is a URL, and reading those needs the extra 'remote'",
            "run: pip install 'bgone[remote]', or copy the data here",
            FIELD,
        ) from None
    # Plain http is what a lab's own web server and `bgone view` speak: they have no certificate.
    options = {"client_options": {"allow_http": True}} if url.startswith("http://") else {}
    try:
        return ObjectStore(from_url(url, **options), read_only=True)
    except (ValueError, TypeError, import_module("obstore.exceptions").BaseError) as error:
        raise RequestError(
            f"{url!r} cannot be opened: {str(error).splitlines()[0]}",
            "give an s3://, gs://, az:// or https:// address of a Zarr",
            FIELD,
        ) from None


def whole_object(store: Storage, key: str) -> Blob | None:
    """Fetch an object, or return None where there is none."""
    data = sync(store.get(key, default_buffer_prototype()))
    return None if data is None else blob_of(data.to_bytes())


def object_in_parts(store: Storage, key: str) -> Blob | None:
    """Return an object that is fetched range by range, or None where there is none."""

    def read(start: int, length: int) -> bytes:
        data = sync(store.get(key, default_buffer_prototype(), RangeByteRequest(start, start + length)))
        return b"" if data is None else data.to_bytes()

    try:
        return Blob(sync(store.getsize(key)), read)
    except FileNotFoundError:
        return None


def objects_of(url: str) -> dict[str, Any]:
    """Return number, bytes and a digest (names, sizes, ETags) of the objects below a URL.

    A web server lists nothing, so the result is empty, and only metadata can tell whether an input changed.
    """
    if url.startswith(("http://", "https://")):
        return {}
    store: Any = url_storage(url)
    count = nbytes = total = 0
    for batch in store.store.list():
        for entry in batch:
            count += 1
            nbytes += int(entry["size"])
            total += text_digest(
                f"{entry['path']}\0{entry['size']}\0{entry['e_tag'] or entry['last_modified']}"
            )
    return {"files": count, "bytes": nbytes, "objects": digest_sum(total)}
