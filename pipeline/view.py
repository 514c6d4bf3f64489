"""An output served on this machine alone, for viewers: files, byte ranges, and leave for any page to read.

Tornado, which comes with `distributed`, serves files too. It answers a range that covers a whole file with
200, which strict readers of shards take for a server without ranges.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import Problem, RequestError
from pipeline.read.zarr_nodes import is_zarr

LOOPBACK = "127.0.0.1"
_TYPES = {
    ".json": "application/json", ".zattrs": "application/json", ".zgroup": "application/json",
    ".zarray": "application/json", ".txt": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml",
}  # fmt: skip
_OTHER_TYPE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_PART = 1 << 20
_LEAVE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*, Range, If-None-Match, If-Range",
    # Browsers ask for this where a page from the internet reads from the machine it is shown on.
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
    "Access-Control-Max-Age": "86400",
}


class Server(ThreadingHTTPServer):
    """Serves the files of one folder under its name; a thread for each connection.

    Parameters
    ----------
    folder : str
        What is served.
    port : int
        Of this machine; 0 takes a free one.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: str, port: int = 0) -> None:
        self.folder = os.path.realpath(folder)
        self.name = os.path.basename(os.path.abspath(folder))
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Take the port; the standard library would ask for the machine's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a reader that has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"http://{LOOPBACK}:{self.server_port}/{quote(self.name)}"

    def file_of(self, target: str) -> str | None:
        """Return the file that a request means, or None where there is none inside the folder."""
        parts = [unquote(part) for part in urlsplit(target).path.split("/") if part]
        if not parts or parts[0] != self.name:
            return None
        if any(part in (".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
            return None
        path = os.path.realpath(os.path.join(self.folder, *parts[1:]))
        inside = path.startswith(self.folder + os.sep)
        return path if inside and os.path.isfile(path) else None


class _Handler(BaseHTTPRequestHandler):
    """Answers GET, HEAD and OPTIONS."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "bgone", ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what GET would say of it."""
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        """Tell a browser that any page may read."""
        self._head(HTTPStatus.NO_CONTENT)

    def log_message(self, format: str, *values: Any) -> None:
        """Write nothing: a viewer asks for thousands of files."""

    def end_headers(self) -> None:
        """Let any page read whatever is answered, that a file is not there too."""
        for name, value in _LEAVE.items():
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def _head(self, status: HTTPStatus, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, *, with_body: bool) -> None:
        path = self.server.file_of(self.path)
        if path is not None:
            try:
                with open(path, "rb", buffering=0) as file:
                    return self._send(path, file, with_body)
            except (FileNotFoundError, PermissionError):
                pass
        return self._head(HTTPStatus.NOT_FOUND)

    def _send(self, path: str, file: BinaryIO, with_body: bool) -> None:
        status = os.fstat(file.fileno())
        size, tag = status.st_size, f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        always = {"ETag": tag, "Cache_Control": "no-cache", "Accept_Ranges": "bytes"}
        if tag in [each.strip() for each in self.headers.get("If-None-Match", "").split(",")]:
            return self._head(HTTPStatus.NOT_MODIFIED, **always)
        # A range is for GET alone, and for the file as it was when the reader saw its tag.
        current = self.headers.get("If-Range", tag) == tag
        asked = self.headers.get("Range") if with_body and current else None
        try:
            part = byte_range(asked, size)
        except ValueError:
            return self._head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, Content_Range=f"bytes */{size}", **always
            )
        always["Content_Type"] = content_type(path)
        if part is None:
            start, stop = 0, size
            self._head(HTTPStatus.OK, Content_Length=size, **always)
        else:
            start, stop = part
            said = f"bytes {start}-{stop - 1}/{size}"
            self._head(HTTPStatus.PARTIAL_CONTENT, Content_Length=stop - start, Content_Range=said, **always)
        if with_body:
            self._copy(file, start, stop)
        return None

    def _copy(self, file: BinaryIO, start: int, stop: int) -> None:
        file.seek(start)
        while start < stop:
            data = file.read(min(_PART, stop - start))
            if not data:
                # The file was cut meanwhile: only a closed connection can say so now.
                self.close_connection = True
                return
            self.wfile.write(data)
            start += len(data)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first byte and one past the last of what is asked for; None for the whole file.

    Several ranges at once, or what is no range of bytes, mean the whole file, as HTTP allows.

    Raises
    ------
    ValueError
        No byte of the file lies in it.

    Examples
    --------
    >>> byte_range("bytes=10-19", 100), byte_range("bytes=90-", 95), byte_range("bytes=-16", 100)
    ((10, 20), (90, 95), (84, 100))
    >>> byte_range("bytes=0-0,5-9", 100), byte_range(None, 100)
    (None, None)
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise ValueError(f"{header} lies outside {size} bytes")
    return start, stop


def content_type(path: str) -> str:
    """Return what a file holds, in the words of HTTP.

    >>> content_type("/a/zarr.json"), content_type("/a/.zattrs"), content_type("/a/0/c/0/0")
    ('application/json', 'application/json', 'application/octet-stream')
    """
    name = os.path.basename(path)
    return _TYPES.get(name if name in _TYPES else os.path.splitext(name)[1], _OTHER_TYPE)


def open_server(output: str, port: int = 0) -> Server:
    """Return a server of an OME-Zarr, which has its port and waits for `serve_forever`.

    Raises
    ------
    RequestError
        It is no Zarr, or the port cannot be had.
    """
    if not os.path.isdir(output):
        raise RequestError([Problem("there is no such folder", "name an OME-Zarr", file=output)])
    if not is_zarr(output):
        raise RequestError([Problem("is no Zarr", "name an OME-Zarr", file=output)])
    try:
        return Server(output, port)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise RequestError(
            f"port {port} cannot be had: {said}", "leave it out for a free one", "--port"
        ) from error


def addresses(url: str, name: str) -> dict[str, str]:
    """Return what a user types or follows to see an OME-Zarr, by viewer."""
    layer = {"type": "image", "source": f"zarr://{url}/", "name": name}
    state = json.dumps({"layers": [layer], "selectedLayer": {"layer": name, "visible": True}})
    source = quote(url, safe=":/")
    return {
        "napari": f"napari --plugin napari-ome-zarr {url}",
        "neuroglancer": f"https://neuroglancer-demo.appspot.com/#!{quote(state, safe='')}",
        "vizarr": f"https://hms-dbmi.github.io/vizarr/?source={source}",
        "validator": f"https://ome.github.io/ome-ngff-validator/?source={source}",
    }


def view_text(server: Server) -> str:
    """Return what `bgone view` prints."""
    rows = [("served at", server.url), *addresses(server.url, server.name).items()]
    lines = [f"{label:<12}  {text}" for label, text in rows]
    return "\n".join([*lines, "only this machine can reach it, until Ctrl-C"])
