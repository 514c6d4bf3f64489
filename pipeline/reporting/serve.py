"""HTTP server that shows an output to viewers on this machine only."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import re
import resource
import socket
import sys
from collections.abc import Generator
from typing import Any
from urllib.parse import quote, unquote

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application, HTTPError, StaticFileHandler

from pipeline.model.errors import RequestError

LOOPBACK = "127.0.0.1"
_JSON_NAMES = (".zarray", ".zattrs", ".zgroup")
# No more digits than a size has: Python refuses to read a number of thousands.
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII)
_AUTHORITY = re.compile(r"^[a-z][a-z0-9+.-]*://([^/?#]*)", re.IGNORECASE)
_OWN_NAME = re.compile(r"(localhost\.?|127\.0\.0\.1|\[::1\])(:[0-9]*)?", re.IGNORECASE | re.ASCII)

REQUEST_SECONDS = 30  # for a whole request, before the connection is closed
SEND_SECONDS = 60  # for a client to accept a piece of a file
# Connections at a time; one more replaces the one that has been idle longest.
MOST_READERS = 256
# A file of 1 GiB goes out about twice as fast as in tornado's pieces of 64 KiB.
SEND_BYTES = 2**20

_HEADERS = {
    "Server": "bgone",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*, Range, If-None-Match, If-Range",
    # Browsers ask for this where a page from the internet reads from the machine it is shown on.
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
    "Access-Control-Max-Age": "86400",
}


class Server:
    """HTTP server of the files in `folder`, bound to `port` of the loopback interface (0: a free one).

    Raises
    ------
    RequestError
        The port cannot be bound.
    """

    def __init__(self, folder: str, port: int = 0) -> None:
        try:
            self._socket = socket.create_server((LOOPBACK, port), backlog=128)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RequestError(
                f"port {port} cannot be had: {reason}", "leave it out for a free one", "--port"
            ) from error
        self._socket.setblocking(False)
        self.server_port: int = self._socket.getsockname()[1]
        self.name = os.path.basename(os.path.abspath(folder))
        self.url = f"http://{LOOPBACK}:{self.server_port}/{quote(self.name)}"
        # Connection → whether it is being answered; the one that was answered longest ago comes first.
        self.readers: dict[IOStream, bool] = {}
        self._application = Application(
            [("(.*)", _Files, {"path": os.path.realpath(folder)})],
            name=self.name,
            readers=self.readers,
            log_function=lambda _: None,  # a viewer asks for thousands of files
        )
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def serve_forever(self) -> None:
        """Answer requests until Ctrl-C or `shutdown`."""
        # `log_exception` prints one line instead of tornado's tracebacks.
        logging.getLogger("tornado").setLevel(logging.CRITICAL)
        asyncio.run(self._serve())

    def shutdown(self) -> None:
        """End `serve_forever`; may be called from another thread."""
        if self._loop is None:
            self._ending.set()
        else:
            self._loop.call_soon_threadsafe(self._ending.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Nothing can be written here, so a request with a body is refused.
        http = _Readers(self._application, idle_connection_timeout=REQUEST_SECONDS, max_body_size=0)
        http.add_socket(self._socket)
        await self._ending.wait()
        http.stop()
        await http.close_all_connections()


class _Readers(HTTPServer):
    """HTTP server with a bounded number of connections."""

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        application: Any = self.request_callback
        readers = application.settings["readers"]
        for closed in [reader for reader in readers if reader.closed()]:
            del readers[closed]
        # Files being served need descriptors too: connections take a quarter of them at most.
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if len(readers) >= max(4, min(MOST_READERS, files // 4)):
            oldest = next((reader for reader, answered in readers.items() if not answered), stream)
            readers.pop(oldest, None)
            oldest.close()
        if not stream.closed():
            readers[stream] = False
            super().handle_stream(stream, address)


class _Files(StaticFileHandler):
    """Handler of GET, HEAD and OPTIONS for the files of the output."""

    SUPPORTED_METHODS = ("GET", "HEAD", "OPTIONS")

    @property
    def _stream(self) -> IOStream:
        connection: Any = self.request.connection
        return connection.stream

    def set_default_headers(self) -> None:
        """Allow cross-origin reads of every answer, 404 included."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Refuse requests addressed to another host."""
        self.settings["readers"][self._stream] = True
        hosts = self.request.headers.get_list("Host")
        if len(hosts) > 1 or (not hosts and self.request.version == "HTTP/1.1"):
            raise HTTPError(400)
        hosts += _AUTHORITY.findall(self.request.path)
        # DNS rebinding: a web page whose own name resolves to 127.0.0.1 would count as same origin.
        if not all(_OWN_NAME.fullmatch(host) for host in hosts):
            raise HTTPError(403)

    def on_finish(self) -> None:
        """Mark the connection as idle, behind all that have been idle longer."""
        readers = self.settings["readers"]
        readers.pop(self._stream, None)
        readers[self._stream] = False

    def options(self, path: str) -> None:
        self.set_status(204)

    def parse_url_path(self, url_path: str) -> str:
        path = _AUTHORITY.sub("", self.request.path, count=1)
        name, *parts = [unquote(part) for part in path.split("/") if part] or [""]
        outside = any(part in (".", "..") or set(part) & {"/", "\\", "\0"} for part in parts)
        if name != self.settings["name"] or outside:
            raise HTTPError(404)
        return "/".join(parts)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        path = os.path.realpath(absolute_path)  # a link must not lead out of the output
        if not path.startswith(root + os.sep) or not os.path.isfile(path):
            raise HTTPError(404)
        return super().validate_absolute_path(root, path)

    def get_content_type(self) -> str:
        """Return the MIME type; Zarr 2 metadata has no suffix to tell it by."""
        is_json = os.path.basename(self.absolute_path or "") in _JSON_NAMES
        return "application/json" if is_json else super().get_content_type()

    def compute_etag(self) -> str:
        """Return a tag from time and size: tornado's own hashes the whole file."""
        status = os.stat(self.absolute_path or "")
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

    def set_extra_headers(self, path: str) -> None:
        """Drop a Range header that does not apply, and answer one over the whole file with 206."""
        headers, size = self.request.headers, self.get_content_size()
        match = _RANGE.fullmatch(headers.pop("Range", ""))
        # A range applies to GET only, and with If-Range only to the version that the client knows.
        current = headers.get("If-Range") in (None, self.compute_etag())
        if match is None or not current or self.request.method != "GET":
            return
        first, last, suffix = (int(number) if number else None for number in match.groups())
        start = max(0, size - (suffix or 0)) if first is None else first
        stop = size if last is None else min(size, last + 1)
        # tornado answers a range over the whole file with 200, which strict shard readers take for a
        # server without ranges.
        if (start, stop) == (0, size) and size:
            self.set_status(206)
            self.set_header("Content-Range", f"bytes 0-{size - 1}/{size}")
        elif last is None or start <= last:
            headers["Range"] = match[0]

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        """Yield the bytes from `start` to `end` in pieces of `SEND_BYTES`."""
        try:
            with open(abspath, "rb") as file:
                left = (os.path.getsize(abspath) if end is None else end) - file.seek(start or 0)
                while left > 0 and (piece := file.read(min(SEND_BYTES, left))):
                    left -= len(piece)
                    yield piece
        except (FileNotFoundError, PermissionError):
            raise HTTPError(404) from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise HTTPError(503) from error
            raise

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:
        """Send what is written; close the connection if the client does not accept it in time."""
        sent = super().flush(include_footers)
        overdue = asyncio.get_running_loop().call_later(SEND_SECONDS, self._stream.close)
        sent.add_done_callback(lambda _: overdue.cancel())
        return sent

    def write_error(self, status_code: int, **_: Any) -> None:
        self.finish()

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Print one line for an error of ours; say nothing of a client's mistakes."""
        if not isinstance(value, HTTPError | StreamClosedError):
            print(f"error: a reader was not answered ({type(value).__name__}: {value})", file=sys.stderr)


def addresses(url: str, name: str) -> dict[str, str]:
    """Return the command or URL that opens an OME-Zarr, by viewer."""
    layer = {"type": "image", "source": f"zarr://{url}/", "name": name}
    state = json.dumps({"layers": [layer], "selectedLayer": {"layer": name, "visible": True}})
    source = quote(url, safe=":/")
    return {
        "napari": f"napari --plugin napari-ome-zarr {url}",
        "neuroglancer": f"https://neuroglancer-demo.appspot.com/#!{quote(state, safe='')}",
        "vizarr": f"https://hms-dbmi.github.io/vizarr/?source={source}",
        "validator": f"https://ome.github.io/ome-ngff-validator/?source={source}",
    }


def view_message(server: Server) -> str:
    """Return what `bgone view` prints."""
    rows = [("served at", server.url), *addresses(server.url, server.name).items()]
    lines = [f"{label:<12}  {text}" for label, text in rows]
    return "\n".join([*lines, "only this machine can reach it, until Ctrl-C"])
