"""Zarrs behind a URL: object stores and web servers, through obstore (the extra `remote`)."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any

from zarr.abc.store import RangeByteRequest
from zarr.abc.store import Store as Storage
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from pipeline.model.errors import RequestError
from pipeline.read.files import FIELD
from pipeline.storage.files import Blob, blob_of


def url_storage(url: str) -> Storage:
    """Return the storage of a URL, read only.

    Raises
    ------
    RequestError
        The extra `remote` is not installed, or the URL is of a kind that it does not know.
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
    # A web server of one's own laboratory, or `bgone view`, has no certificate.
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
    """Fetch an object of a store, or return None where there is none."""
    data = sync(store.get(key, default_buffer_prototype()))
    return None if data is None else blob_of(data.to_bytes())


def object_in_parts(store: Storage, key: str) -> Blob | None:
    """Return an object of a store that is fetched in parts, or None where there is none."""

    def read(start: int, length: int) -> bytes:
        data = sync(store.get(key, default_buffer_prototype(), RangeByteRequest(start, start + length)))
        return b"" if data is None else data.to_bytes()

    try:
        return Blob(sync(store.getsize(key)), read)
    except FileNotFoundError:
        return None


def objects_of(url: str) -> dict[str, Any]:
    """Return, as plain data, what a store tells of the objects below a URL; nothing where it lists none.

    Returns
    -------
    dict
        Their number and bytes, and a digest of their names, sizes and ETags. A web server lists
        nothing: then the metadata alone tell whether an input is the same.
    """
    if url.startswith(("http://", "https://")):
        return {}
    store: Any = url_storage(url)
    count = nbytes = total = 0
    for batch in store.store.list():
        for entry in batch:
            count += 1
            nbytes += int(entry["size"])
            text = f"{entry['path']}\0{entry['size']}\0{entry['e_tag'] or entry['last_modified']}"
            total += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    return {"files": count, "bytes": nbytes, "objects": f"{total % (1 << 128):032x}"}
