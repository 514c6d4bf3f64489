"""An output served on this machine alone, for viewers: files, byte ranges, and leave for any page to read.

Tornado, which comes with `distributed`, serves files too. It answers a range that covers a whole file with
200, which strict readers of shards take for a server without ranges.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import socket
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from pipeline.model.errors import Problem, RequestError
from pipeline.read.zarr.nodes import is_zarr

LOOPBACK = "127.0.0.1"
_TYPES = {
    ".json": "application/json", ".zattrs": "application/json", ".zgroup": "application/json",
    ".zarray": "application/json", ".txt": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml",
}  # fmt: skip
_OTHER_TYPE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_PART = 1 << 20
_OWN_NAME = re.compile(r"(localhost\.?|127\.0\.0\.1|\[::1\])(:[0-9]*)?", re.IGNORECASE | re.ASCII)

WAIT_SECONDS = 30
"""How long a reader may take to ask for something, whole, before its connection is closed."""

SEND_SECONDS = 60
"""How long a reader may take to accept a mebibyte."""

MOST_READERS = 256
"""Connections at a time; one more takes the place of the one that has waited longest without asking."""

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
        self._changing = threading.Lock()
        self.readers: dict[socket.socket, float | None] = {}
        """Each connection, and until when it may take to ask: None while it is answered."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = max(4, min(MOST_READERS, files // 4))
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, if there is room for it."""
        with self._changing:
            waiting = [each for each, until in self.readers.items() if until is not None]
            full = len(self.readers) >= self._most
            if full and waiting:
                _hang_up(min(waiting, key=lambda each: self.readers[each] or 0))
        if full and not waiting:
            self.shutdown_request(request)
            return
        self.wait_for(request)
        super().process_request(request, client_address)

    def wait_for(self, request: socket.socket) -> None:
        """Give a connection until some time from now to ask for something."""
        with self._changing:
            self.readers[request] = time.monotonic() + WAIT_SECONDS

    def has_asked(self, request: socket.socket) -> None:
        """Let a connection take the time that answering it takes."""
        with self._changing:
            self.readers[request] = None

    def service_actions(self) -> None:
        """Hang up on readers that have not asked for anything in time; called twice a second."""
        now = time.monotonic()
        with self._changing:
            for each, until in self.readers.items():
                if until is not None and until < now:
                    _hang_up(each)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        with self._changing:
            self.readers.pop(request, None)
        super().shutdown_request(request)

    def server_bind(self) -> None:
        """Take the port; the standard library would ask for the machine's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a reader that has gone, and in a line what else went wrong with one."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"error: a reader was not answered ({type(error).__name__}: {error})", file=sys.stderr)

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"http://{LOOPBACK}:{self.server_port}/{quote(self.name)}"

    def file_of(self, target: str) -> str | None:
        """Return the file that a request means, or None where there is none inside the folder."""
        try:
            path = urlsplit(target).path
        except ValueError:  # no address of any kind
            return None
        parts = [unquote(part) for part in path.split("/") if part]
        if not parts or parts[0] != self.name:
            return None
        if any(part in (".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
            return None
        path = os.path.realpath(os.path.join(self.folder, *parts[1:]))
        inside = path.startswith(self.folder + os.sep)
        return path if inside and os.path.isfile(path) else None


def _hang_up(connection: socket.socket) -> None:
    """End a connection from another thread than its own, which closes it then."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET, HEAD and OPTIONS."""

    server: Server
    timeout = SEND_SECONDS
    protocol_version = "HTTP/1.1"
    # So that whatever cannot be understood is answered with a status too.
    default_request_version = "HTTP/1.0"
    server_version, sys_version = "bgone", ""
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        """Wait for a request, for some time, and answer it."""
        self.server.wait_for(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Return whether what was asked can be answered; if not, it has been."""
        if not super().parse_request():
            return False
        self.server.has_asked(self.connection)
        if {"content-length", "transfer-encoding"} & {name.lower() for name in self.headers}:
            self.close_connection = True  # what follows is no request
        hosts = self.headers.get_all("Host", [])
        try:
            inside = urlsplit(self.path).netloc
        except ValueError:
            inside = ""
        if len(hosts) > 1 or (not hosts and self.request_version == "HTTP/1.1"):
            self.send_error(HTTPStatus.BAD_REQUEST, "Host must be said once")
            return False
        # A page of the internet may let its own name mean this machine, and is then none of another site's.
        if not all(_OWN_NAME.fullmatch(each) for each in (*hosts, *filter(None, [inside]))):
            self.send_error(HTTPStatus.FORBIDDEN, "Only localhost is served")
            return False
        return True

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
        if path is None:
            return self._head(HTTPStatus.NOT_FOUND)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, PermissionError):
            return self._head(HTTPStatus.NOT_FOUND)
        except OSError:  # too many open files, say
            return self._head(HTTPStatus.SERVICE_UNAVAILABLE)
        with open(descriptor, "rb", buffering=0) as file:
            return self._send(path, file, with_body)

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
